/* SPDX-License-Identifier: Apache-2.0
 * What all machines have in common; see machine.h.
 */
#include <config.h>

#include "hypervisor-glue/machine.h"

#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/random.h"
#include "hypervisor-glue/machine-internal.h"
#include "common/banned.h"

static const struct lm_machine_ops *const kinds[] = { &lm_machine_qemu };

/* ---- names ---- */

#define COUNT(array) (sizeof (array) / sizeof ((array)[0]))

static const char *const firmware_names[] = { "bios", "uefi" };
static const char *const chipset_names[] = { "q35", "pc" };
static const char *const disk_bus_names[] = {
  "virtio", "sata", "ide", "scsi"
};
static const char *const accel_names[] = { "auto", "kvm", "tcg" };
static const char *const network_names[] = { "none", "user" };
static const char *const nic_model_names[] = {
  "virtio", "e1000e", "e1000", "rtl8139"
};
static const char *const state_names[] = {
  "running", "paused", "stopped", "stuck", "ended"
};

static const char *
name_of (const char *const *names, size_t n, unsigned value)
{
  return value < n ? names[value] : "?";
}

/* The index of TEXT, or -1 with an error that lists what there is. */
static int
parse_name (const char *const *names, size_t n, const char *what,
            const char *text, struct lm_error *err)
{
  char list[128] = "";
  size_t i, len;

  for (i = 0; i < n; i++)
    if (strcmp (text, names[i]) == 0)
      return (int) i;
  for (i = 0; i < n; i++) {
    len = strlen (list);
    snprintf (list + len, sizeof list - len, "%s%s", i ? ", " : "",
              names[i]);
  }
  return lm_error_set (err, LM_ERR_USAGE, "%s '%s' is not one of %s", what,
                       text, list);
}

/* The pair of functions for one enum. */
#define NAMES(type, what) \
  const char * \
  lm_##type##_name (enum lm_##type value) \
  { \
    return name_of (type##_names, COUNT (type##_names), value); \
  } \
  \
  int \
  lm_##type##_parse (const char *text, enum lm_##type *ret_value, \
                     struct lm_error *err) \
  { \
    int i = parse_name (type##_names, COUNT (type##_names), what, text, \
                        err); \
    \
    if (i >= 0) \
      *ret_value = (enum lm_##type) i; \
    return i >= 0 ? 0 : -1; \
  }

NAMES (firmware, "firmware")
NAMES (chipset, "machine type")
NAMES (disk_bus, "disk bus")
NAMES (accel, "accelerator")
NAMES (network, "network")
NAMES (nic_model, "network card")

const char *
lm_machine_state_name (enum lm_machine_state state)
{
  return name_of (state_names, COUNT (state_names), state);
}

/* ---- handles ---- */

struct lm_machine *
lm_machine_start (const struct lm_machine_config *config,
                  struct lm_error *err)
{
  return lm_machine_qemu.start (config, err);
}

struct lm_machine *
lm_machine_attach (const json_t *record, const char *what,
                   struct lm_error *err)
{
  const char *kind = lm_json_string (record, "kind", what, err);
  size_t i;

  if (kind == NULL)
    return NULL;
  for (i = 0; i < COUNT (kinds); i++)
    if (strcmp (kind, kinds[i]->kind) == 0)
      return kinds[i]->attach (record, what, err);
  lm_error_set (err, LM_ERR_UNSUPPORTED, "%s: machines of kind '%s' are not "
                "known to this version", what, kind);
  return NULL;
}

void
lm_machine_free (struct lm_machine *machine)
{
  if (machine)
    machine->ops->free (machine);
}

json_t *
lm_machine_to_json (const struct lm_machine *machine)
{
  CLEANUP_JSON json_t *record = machine->ops->to_json (machine);

  if (record == NULL ||
      json_object_set_new (record, "kind", json_string (machine->ops->kind))
      == -1)
    return NULL;
  return lm_steal (record);
}

enum lm_accel
lm_machine_accel (const struct lm_machine *machine)
{
  return machine->accel.accel;
}

const char *
lm_machine_accel_reason (const struct lm_machine *machine)
{
  return machine->accel.reason;
}

int
lm_machine_status (struct lm_machine *machine,
                   struct lm_machine_status *ret_status,
                   struct lm_error *err)
{
  return machine->ops->status (machine, ret_status, err);
}

int
lm_machine_kill (struct lm_machine *machine, struct lm_error *err)
{
  return machine->ops->kill (machine, err);
}

int
lm_machine_pause (struct lm_machine *machine, struct lm_error *err)
{
  return machine->ops->pause (machine, err);
}

int
lm_machine_resume (struct lm_machine *machine, struct lm_error *err)
{
  return machine->ops->resume (machine, err);
}

int
lm_machine_reset (struct lm_machine *machine, struct lm_error *err)
{
  return machine->ops->reset (machine, err);
}

int
lm_machine_screenshot (struct lm_machine *machine, const char *path,
                       struct lm_error *err)
{
  return machine->ops->screenshot (machine, path, err);
}

/* ---- waiting ---- */

#define SLICE_MS 200
#define BUTTON_MS 15000

/* Milliseconds since START. */
static int64_t
elapsed_ms (uint64_t start)
{
  return (int64_t) ((lm_clock_monotonic () - start) / 1000000);
}

int
lm_machine_wait (struct lm_machine *machine, int64_t timeout_ms,
                 const volatile sig_atomic_t *cancel, bool *ret_ended,
                 struct lm_error *err)
{
  uint64_t start = lm_clock_monotonic ();

  for (;;) {
    int64_t slice = SLICE_MS;
    bool ended;

    if (timeout_ms >= 0) {
      int64_t left = timeout_ms - elapsed_ms (start);

      slice = left < 0 ? 0 : left < slice ? left : slice;
    }
    if (cancel && *cancel)
      return lm_error_set (err, LM_ERR_INTERRUPTED, "interrupted while "
                           "waiting for the machine to end");
    if (machine->ops->wait (machine, slice, &ended, err) == -1)
      return -1;
    if (ended || (timeout_ms >= 0 && slice == 0)) {
      *ret_ended = ended;
      return 0;
    }
  }
}

int
lm_machine_shutdown (struct lm_machine *machine, int64_t timeout_ms,
                     const volatile sig_atomic_t *cancel, bool *ret_ended,
                     struct lm_error *err)
{
  uint64_t start = lm_clock_monotonic ();

  for (;;) {
    int64_t left = BUTTON_MS;
    bool ended;

    if (machine->ops->powerdown (machine, err) == -1) {
      if (err->kind != LM_ERR_NOT_FOUND)
        return -1;
      lm_error_clear (err);     /* it has ended: found out below */
    }
    if (timeout_ms >= 0) {
      left = timeout_ms - elapsed_ms (start);
      left = left < 0 ? 0 : left < BUTTON_MS ? left : BUTTON_MS;
    }
    if (lm_machine_wait (machine, left, cancel, &ended, err) == -1)
      return -1;
    if (ended || (timeout_ms >= 0 && elapsed_ms (start) >= timeout_ms)) {
      *ret_ended = ended;
      return 0;
    }
  }
}
