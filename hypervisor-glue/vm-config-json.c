/* SPDX-License-Identifier: Apache-2.0
 * A machine's configuration in our own words; see vm-config-json.h.
 */
#include <config.h>

#include "hypervisor-glue/vm-config-json.h"

#include <string.h>

#include "common/json.h"
#include "common/size.h"
#include "common/banned.h"

/* The string OBJ[KEY] into *RET_COPY; nothing if it is not there. */
static int
copy_string (const json_t *obj, const char *key, const char *what,
             char **ret_copy, struct lm_error *err)
{
  const char *text;

  if (json_object_get (obj, key) == NULL)
    return 0;
  text = lm_json_string (obj, key, what, err);
  if (text == NULL)
    return -1;
  *ret_copy = strdup (text);
  return *ret_copy ? 0 : lm_error_set (err, LM_ERR_NOMEM, "out of memory");
}

/* A member that names a value of an enum: 1 if it is there and right, 0
 * if it is not there. */
#define NAMED(type) \
  static int \
  named_##type (const json_t *obj, const char *key, const char *what, \
                enum lm_##type *ret_value, struct lm_error *err) \
  { \
    const char *text; \
    \
    if (json_object_get (obj, key) == NULL) \
      return 0; \
    text = lm_json_string (obj, key, what, err); \
    if (text == NULL) \
      return -1; \
    if (lm_##type##_parse (text, ret_value, err) == -1) { \
      err->kind = LM_ERR_CORRUPT; \
      return lm_error_prefix (err, "%s: '%s'", what, key); \
    } \
    return 1; \
  }

NAMED (firmware)
NAMED (chipset)
NAMED (disk_bus)
NAMED (nic_model)

static int
parse_memory (const json_t *obj, const char *what, uint64_t *ret_bytes,
              struct lm_error *err)
{
  const char *text = lm_json_string_or_null (obj, "memory");

  if (text == NULL)
    return lm_json_u64 (obj, "memory", INT64_MAX, what, ret_bytes, err);
  if (lm_size_parse (text, ret_bytes, err) == -1) {
    err->kind = LM_ERR_CORRUPT;
    return lm_error_prefix (err, "%s: 'memory'", what);
  }
  return 0;
}

static int
parse_disk (const json_t *obj, const char *what, struct lm_vm_config *config,
            struct lm_error *err)
{
  struct lm_vm_config_disk *disk = lm_vm_config_add_disk (config, what, err);
  int r;

  if (disk == NULL)
    return -1;
  if (!json_is_object (obj))
    return lm_corrupt (err, "%s: a disk is not an object", what);
  r = named_disk_bus (obj, "bus", what, &disk->bus, err);
  if (r == -1)
    return -1;
  disk->has_bus = r;
  if (copy_string (obj, "name", what, &disk->target, err) == -1)
    return -1;
  return copy_string (obj, "serial", what, &disk->serial, err);
}

static int
parse_nic (const json_t *obj, const char *what, struct lm_vm_config *config,
           struct lm_error *err)
{
  struct lm_vm_config_nic *nic = lm_vm_config_add_nic (config, what, err);
  int r;

  if (nic == NULL)
    return -1;
  if (!json_is_object (obj))
    return lm_corrupt (err, "%s: a network card is not an object", what);
  r = named_nic_model (obj, "model", what, &nic->model, err);
  if (r == -1)
    return -1;
  nic->has_model = r;
  return copy_string (obj, "mac", what, &nic->mac, err);
}

static int
parse_list (const json_t *root, const char *key, const char *what,
            struct lm_vm_config *config,
            int (*parse) (const json_t *, const char *,
                          struct lm_vm_config *, struct lm_error *),
            struct lm_error *err)
{
  json_t *list, *item;
  size_t i;

  if (json_object_get (root, key) == NULL)
    return 0;
  list = lm_json_array (root, key, what, err);
  if (list == NULL)
    return -1;
  json_array_foreach (list, i, item)
    if (parse (item, what, config, err) == -1)
      return -1;
  return 0;
}

int
lm_vm_config_parse_json (const void *data, size_t len, const char *what,
                         struct lm_vm_config *config, struct lm_error *err)
{
  CLEANUP_JSON json_t *root = NULL;
  uint64_t cpus;
  int r;

  if (len >= 3 && memcmp (data, "\xef\xbb\xbf", 3) == 0) {
    data = (const char *) data + 3;
    len -= 3;
  }
  root = lm_json_parse (data, len, what, err);
  if (root == NULL)
    return -1;
  if (copy_string (root, "name", what, &config->name, err) == -1 ||
      copy_string (root, "uuid", what, &config->uuid, err) == -1)
    return -1;
  if (json_object_get (root, "memory") &&
      parse_memory (root, what, &config->memory, err) == -1)
    return -1;
  if (json_object_get (root, "cpus")) {
    if (lm_json_u64 (root, "cpus", LM_MACHINE_CPUS_MAX, what, &cpus, err)
        == -1)
      return -1;
    config->cpus = (unsigned) cpus;
  }
  r = named_firmware (root, "firmware", what, &config->firmware, err);
  if (r == -1)
    return -1;
  config->has_firmware = r;
  r = named_chipset (root, "machine", what, &config->chipset, err);
  if (r == -1)
    return -1;
  config->has_chipset = r;
  if (parse_list (root, "disks", what, config, parse_disk, err) == -1)
    return -1;
  return parse_list (root, "nics", what, config, parse_nic, err);
}
