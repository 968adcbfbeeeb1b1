/* SPDX-License-Identifier: Apache-2.0
 * What a session's machine looks like; see session-boot.h.
 */
#include <config.h>

#include "mount/session-boot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/json.h"
#include "hypervisor-glue/firmware.h"
#include "hypervisor-glue/vm-config.h"
#include "mount/session-machine.h"
#include "common/banned.h"

void
lm_boot_settings_release (struct lm_boot_settings *b)
{
  free (b->uuid);
  free (b->mac);
  free (b->kernel);
  free (b->initrd);
  free (b->append);
  b->uuid = b->mac = b->kernel = b->initrd = b->append = NULL;
}

static int
set_string (char **field, const char *text, struct lm_error *err)
{
  char *copy = strdup (text);

  if (copy == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  free (*field);
  *field = copy;
  return 0;
}

static int
set_path (char **field, const struct lm_args *args, const char *option,
          struct lm_error *err)
{
  const char *text = lm_args_string (args, option);
  char *path;

  if (text == NULL)
    return 0;
  path = realpath (text, NULL);
  if (path == NULL)
    return lm_error_errno (err, errno, "--%s %s", option, text);
  free (*field);
  *field = path;
  return 0;
}

int
lm_boot_settings_options (struct lm_boot_settings *b,
                          const struct lm_args *args, struct lm_error *err)
{
  const char *text;

  if (lm_args_size (args, "memory", &b->memory, err) == -1 ||
      lm_args_number (args, "cpus", 1, LM_MACHINE_CPUS_MAX, &b->cpus, err)
      == -1)
    return -1;
  if ((text = lm_args_string (args, "firmware")) != NULL &&
      lm_firmware_parse (text, &b->firmware, err) == -1)
    return -1;
  if ((text = lm_args_string (args, "disk-bus")) != NULL &&
      lm_disk_bus_parse (text, &b->bus, err) == -1)
    return -1;
  if ((text = lm_args_string (args, "network")) != NULL &&
      lm_network_parse (text, &b->network, err) == -1)
    return -1;
  if ((text = lm_args_string (args, "accel")) != NULL &&
      lm_accel_parse (text, &b->accel, err) == -1)
    return -1;
  if (lm_args_flag (args, "vnc"))
    b->vnc = true;
  if (set_path (&b->kernel, args, "kernel", err) == -1 ||
      set_path (&b->initrd, args, "initrd", err) == -1)
    return -1;
  if ((text = lm_args_string (args, "append")) != NULL &&
      set_string (&b->append, text, err) == -1)
    return -1;
  if (b->kernel == NULL && (b->initrd || b->append))
    return lm_error_set (err, LM_ERR_USAGE, "--initrd and --append need "
                         "--kernel");
  return 0;
}

int
lm_boot_settings_config (struct lm_boot_settings *b,
                         const struct lm_session *s, struct lm_error *err)
{
  CLEANUP_VM_CONFIG struct lm_vm_config config = LM_VM_CONFIG_INIT;
  CLEANUP_FREE char *text = NULL;
  size_t len;

  if (lm_file_read (s->folder_fd, LM_SESSION_CONFIG, LM_VM_CONFIG_SIZE_MAX,
                    &text, &len, err) == -1) {
    if (err->kind != LM_ERR_NOT_FOUND)
      return -1;
    lm_error_clear (err);
    return 0;
  }
  if (lm_vm_config_parse (text, len, "the VM's configuration", &config, err)
      == -1)
    return -1;
  if ((config.uuid && set_string (&b->uuid, config.uuid, err) == -1) ||
      (config.nr_nics > 0 && config.nics[0].mac &&
       set_string (&b->mac, config.nics[0].mac, err) == -1))
    return -1;
  if (config.memory)
    b->memory = config.memory;
  if (config.cpus)
    b->cpus = config.cpus;
  if (config.has_firmware)
    b->firmware = config.firmware;
  if (config.has_chipset)
    b->chipset = config.chipset;
  if (config.nr_disks > 0 && config.disks[0].has_bus)
    b->bus = config.disks[0].bus;
  if (config.nr_nics > 0 && config.nics[0].has_model)
    b->nic_model = config.nics[0].model;
  return 0;
}

int
lm_boot_settings_save (const struct lm_boot_settings *b,
                       const struct lm_session *s, struct lm_error *err)
{
  CLEANUP_JSON json_t *v =
    json_pack ("{s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:s*, s:s*, "
               "s:s*, s:s*, s:s*}",
               "memory", (json_int_t) b->memory,
               "cpus", (json_int_t) b->cpus,
               "firmware", lm_firmware_name (b->firmware),
               "chipset", lm_chipset_name (b->chipset),
               "disk_bus", lm_disk_bus_name (b->bus),
               "network", lm_network_name (b->network),
               "nic_model", lm_nic_model_name (b->nic_model),
               "accel", lm_accel_name (b->accel),
               "vnc", b->vnc,
               "uuid", b->uuid, "mac", b->mac,
               "kernel", b->kernel, "initrd", b->initrd,
               "append", b->append);
  CLEANUP_FREE char *text = NULL;
  size_t len;

  if (v == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "session %s: out of memory, or "
                         "a path that is not UTF-8", s->name);
  text = lm_json_dump (v, &len, err);
  if (text == NULL)
    return -1;
  return lm_file_replace (s->folder_fd, "boot.json", text, len, 0600, err);
}

static int
get_string (const json_t *v, const char *key, char **field,
            struct lm_error *err)
{
  const char *text = lm_json_string_or_null (v, key);

  return text ? set_string (field, text, err) : 0;
}

int
lm_boot_settings_load (struct lm_boot_settings *b,
                       const struct lm_session *s, bool *ret_found,
                       struct lm_error *err)
{
  static const char what[] = "boot.json";
  CLEANUP_FREE char *text = NULL;
  CLEANUP_JSON json_t *v = NULL;
  const char *firmware, *chipset, *bus, *network, *nic, *accel;
  size_t len;

  if (lm_file_read (s->folder_fd, what, 1 << 20, &text, &len, err) == -1) {
    if (err->kind != LM_ERR_NOT_FOUND)
      return -1;
    lm_error_clear (err);
    *ret_found = false;
    return 0;
  }
  v = lm_json_parse (text, len, what, err);
  if (v == NULL ||
      (firmware = lm_json_string (v, "firmware", what, err)) == NULL ||
      (chipset = lm_json_string (v, "chipset", what, err)) == NULL ||
      (bus = lm_json_string (v, "disk_bus", what, err)) == NULL ||
      (network = lm_json_string (v, "network", what, err)) == NULL ||
      (nic = lm_json_string (v, "nic_model", what, err)) == NULL ||
      (accel = lm_json_string (v, "accel", what, err)) == NULL ||
      lm_json_u64 (v, "memory", LM_MACHINE_MEMORY_MAX, what, &b->memory,
                   err) == -1 ||
      lm_json_u64 (v, "cpus", LM_MACHINE_CPUS_MAX, what, &b->cpus, err)
      == -1 ||
      lm_firmware_parse (firmware, &b->firmware, err) == -1 ||
      lm_chipset_parse (chipset, &b->chipset, err) == -1 ||
      lm_disk_bus_parse (bus, &b->bus, err) == -1 ||
      lm_network_parse (network, &b->network, err) == -1 ||
      lm_nic_model_parse (nic, &b->nic_model, err) == -1 ||
      lm_accel_parse (accel, &b->accel, err) == -1 ||
      get_string (v, "uuid", &b->uuid, err) == -1 ||
      get_string (v, "mac", &b->mac, err) == -1 ||
      get_string (v, "kernel", &b->kernel, err) == -1 ||
      get_string (v, "initrd", &b->initrd, err) == -1 ||
      get_string (v, "append", &b->append, err) == -1)
    return lm_error_prefix (err, "session %s", s->name);
  b->vnc = json_is_true (json_object_get (v, "vnc"));
  *ret_found = true;
  return 0;
}

/* The machine's own UEFI variables, if they came with the backup and fit
 * a firmware of this host; else it starts with fresh ones. */
static int
prepare_nvram (const struct lm_session *s, struct lm_error *err)
{
  CLEANUP_FREE char *data = NULL;
  struct lm_error ignored = LM_ERROR_INIT;
  struct lm_firmware_pair pair;
  size_t len;

  if (faccessat (s->folder_fd, "nvram.fd", F_OK, 0) == 0)
    return 0;
  if (lm_file_read (s->folder_fd, LM_SESSION_NVRAM, 64 << 20, &data, &len,
                    &ignored) == -1 ||
      lm_firmware_find (lm_firmware_pairs, len, &pair, &ignored) == -1)
    return 0;
  return lm_file_replace (s->folder_fd, "nvram.fd", data, len, 0600, err);
}

int
lm_session_boot (const struct lm_session *s,
                 const struct lm_boot_settings *b, struct lm_machine **ret,
                 struct lm_error *err)
{
  const struct lm_machine_config config = {
    .uuid = b->uuid, .memory = b->memory, .cpus = b->cpus,
    .chipset = b->chipset, .firmware = b->firmware, .network = b->network,
    .nic_model = b->nic_model, .mac = b->mac,
    .vnc_socket = b->vnc ? "yes" : NULL, .kernel = b->kernel,
    .initrd = b->initrd, .append = b->append, .accel = b->accel,
  };

  if (lm_boot_settings_save (b, s, err) == -1 ||
      (b->firmware == LM_FIRMWARE_UEFI && prepare_nvram (s, err) == -1))
    return -1;
  return lm_session_machine_start (s, &config, b->bus, ret, err);
}

int
lm_session_boot_again (const struct lm_session *s, struct lm_error *err)
{
  CLEANUP (lm_boot_settings_release)
    struct lm_boot_settings b = LM_BOOT_SETTINGS_INIT;
  CLEANUP_MACHINE struct lm_machine *machine = NULL;
  bool found;

  if (lm_boot_settings_load (&b, s, &found, err) == -1)
    return -1;
  return lm_session_boot (s, &b, &machine, err);
}
