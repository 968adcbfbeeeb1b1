/* SPDX-License-Identifier: Apache-2.0
 * A libvirt domain's XML; see vm-config-libvirt.h.
 */
#include <config.h>

#include "hypervisor-glue/vm-config-libvirt.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <strings.h>

#include <libxml/parser.h>
#include <libxml/tree.h>

#include "common/checked.h"
#include "common/cleanup.h"
#include "common/size.h"
#include "common/banned.h"

#define XML_OPTIONS (XML_PARSE_NONET | XML_PARSE_NOERROR | \
                     XML_PARSE_NOWARNING | XML_PARSE_NOCDATA)

/* ---- parsing without trust ---- */

/* Called at "<!DOCTYPE name", before what is inside of it. */
static void
stop_at_doctype (void *ctx, const xmlChar *name, const xmlChar *external_id,
                 const xmlChar *system_id)
{
  xmlParserCtxtPtr ctxt = ctx;

  (void) name, (void) external_id, (void) system_id;
  ctxt->_private = ctxt;        /* a mark: a declaration was there */
  xmlStopParser (ctxt);
}

/* The document, to be freed; NULL with *err set. */
static xmlDocPtr
parse_xml (const void *data, size_t len, const char *what,
           struct lm_error *err)
{
  xmlParserCtxtPtr ctxt = xmlNewParserCtxt ();
  xmlDocPtr doc;

  if (ctxt == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  ctxt->sax->internalSubset = stop_at_doctype;
  ctxt->sax->externalSubset = stop_at_doctype;
  doc = xmlCtxtReadMemory (ctxt, data, (int) len, NULL, NULL, XML_OPTIONS);
  if (ctxt->_private) {
    lm_corrupt (err, "%s: a document type declaration is not allowed in a "
                "domain", what);
    xmlFreeDoc (doc);
    doc = NULL;
  }
  else if (doc == NULL) {
    const xmlError *e = xmlCtxtGetLastError (ctxt);
    const char *text = e && e->message ? e->message : "not well-formed";

    lm_corrupt (err, "%s: not valid XML: line %d: %.*s", what,
                e ? e->line : 0, (int) strcspn (text, "\n"), text);
  }
  xmlFreeParserCtxt (ctxt);
  return doc;
}

static void
cleanup_doc (xmlDocPtr *doc)
{
  xmlFreeDoc (*doc);
}

static bool
is_element (const xmlNode *node, const char *name)
{
  return node->type == XML_ELEMENT_NODE &&
         strcmp ((const char *) node->name, name) == 0;
}

bool
lm_vm_config_is_libvirt (const void *data, size_t len)
{
  struct lm_error ignored = LM_ERROR_INIT;
  CLEANUP (cleanup_doc) xmlDocPtr doc = NULL;
  const char *p = data, *end = p + len;

  /* Well-formed or not, what says <domain is meant as one: then the
   * parser gives the better message. */
  if (memmem (p, (size_t) (end - p), "<domain", 7) == NULL ||
      len > LM_VM_CONFIG_SIZE_MAX)
    return false;
  doc = parse_xml (data, len, "", &ignored);
  return doc == NULL || is_element (xmlDocGetRootElement (doc), "domain");
}

/* ---- looking around in the tree ---- */

/* The first child element NAME; NULL if there is none or NODE is NULL. */
static xmlNodePtr
child (xmlNodePtr node, const char *name)
{
  xmlNodePtr c;

  for (c = node ? node->children : NULL; c; c = c->next)
    if (is_element (c, name))
      return c;
  return NULL;
}

static void
cleanup_xml_string (xmlChar **s)
{
  xmlFree (*s);
}

#define CLEANUP_XML CLEANUP (cleanup_xml_string) xmlChar *

static bool
attribute_is (xmlNodePtr node, const char *name, const char *value)
{
  CLEANUP_XML text = node ? xmlGetNoNsProp (node, (const xmlChar *) name)
                          : NULL;

  return text && strcmp ((const char *) text, value) == 0;
}

/* Trimmed copy of TEXT in *RET; nothing if it is NULL or empty. */
static int
copy_trimmed (const xmlChar *text, char **ret, struct lm_error *err)
{
  const char *s = (const char *) text;
  size_t len;

  if (s == NULL)
    return 0;
  s += strspn (s, " \t\r\n");
  len = strlen (s);
  while (len > 0 && strchr (" \t\r\n", s[len - 1]))
    len--;
  if (len == 0)
    return 0;
  *ret = strndup (s, len);
  return *ret ? 0 : lm_error_set (err, LM_ERR_NOMEM, "out of memory");
}

static int
copy_content (xmlNodePtr node, char **ret, struct lm_error *err)
{
  CLEANUP_XML text = node ? xmlNodeGetContent (node) : NULL;

  return copy_trimmed (text, ret, err);
}

static int
copy_attribute (xmlNodePtr node, const char *name, char **ret,
                struct lm_error *err)
{
  CLEANUP_XML text = node ? xmlGetNoNsProp (node, (const xmlChar *) name)
                          : NULL;

  return copy_trimmed (text, ret, err);
}

static int
number_of (const char *text, uint64_t max, const char *what,
           const char *element, uint64_t *ret, struct lm_error *err)
{
  struct lm_error ignored = LM_ERROR_INIT;

  if (lm_number_parse (text, max, ret, &ignored) == -1)
    return lm_corrupt (err, "%s: <%s> is '%.100s', expected a number up to "
                       "%" PRIu64, what, element, text, max);
  return 0;
}

/* ---- the parts of a domain ---- */

/* libvirt's units; without one it is KiB. */
static int
parse_memory (xmlNodePtr node, const char *what, uint64_t *ret_bytes,
              struct lm_error *err)
{
  static const struct { const char *name; uint64_t factor; } units[] = {
    { "b", 1 }, { "bytes", 1 }, { "k", 1024 }, { "KiB", 1024 },
    { "KB", 1000 }, { "M", 1 << 20 }, { "MiB", 1 << 20 },
    { "MB", 1000000 }, { "G", 1 << 30 }, { "GiB", 1 << 30 },
    { "GB", 1000000000 }, { "T", UINT64_C (1) << 40 },
    { "TiB", UINT64_C (1) << 40 }, { "TB", UINT64_C (1000000000000) },
  };
  CLEANUP_FREE char *text = NULL, *unit = NULL;
  uint64_t n, bytes, factor = 1024;
  size_t i;

  if (copy_content (node, &text, err) == -1 ||
      copy_attribute (node, "unit", &unit, err) == -1)
    return -1;
  if (text == NULL)
    return 0;
  if (number_of (text, INT64_MAX, what, "memory", &n, err) == -1)
    return -1;
  for (i = 0; unit && i < sizeof units / sizeof units[0]; i++)
    if (strcasecmp (unit, units[i].name) == 0)
      break;
  if (unit && i == sizeof units / sizeof units[0])
    return lm_corrupt (err, "%s: <memory> has the unit '%.100s'", what,
                       unit);
  if (unit)
    factor = units[i].factor;
  if (lm_mul_u64 (n, factor, &bytes) == -1)
    return lm_corrupt (err, "%s: <memory> is too large", what);
  *ret_bytes = bytes;
  return 0;
}

/* Of a domain that could have more CPUs, those that it has. */
static int
parse_cpus (xmlNodePtr node, const char *what, unsigned *ret_cpus,
            struct lm_error *err)
{
  CLEANUP_FREE char *text = NULL, *current = NULL;
  uint64_t n;

  if (copy_content (node, &text, err) == -1 ||
      copy_attribute (node, "current", &current, err) == -1)
    return -1;
  if (current == NULL && text == NULL)
    return 0;
  if (number_of (current ? : text, LM_MACHINE_CPUS_MAX, what, "vcpu", &n,
                 err) == -1)
    return -1;
  *ret_cpus = (unsigned) n;
  return 0;
}

/* "pc-q35-7.2", "pc-i440fx-2.8", "q35", "pc" */
static int
parse_type (xmlNodePtr type, const char *what, struct lm_vm_config *config,
            struct lm_error *err)
{
  CLEANUP_FREE char *arch = NULL, *machine = NULL;

  if (copy_attribute (type, "arch", &arch, err) == -1 ||
      copy_attribute (type, "machine", &machine, err) == -1)
    return -1;
  if (arch && strcmp (arch, "x86_64") != 0 && strcmp (arch, "i686") != 0)
    return lm_error_set (err, LM_ERR_UNSUPPORTED, "%s: the machine's "
                         "architecture is %.100s; only x86_64 and i686 can "
                         "be started", what, arch);
  if (machine == NULL)
    return 0;
  if (strcmp (machine, "q35") == 0 || strncmp (machine, "pc-q35", 6) == 0)
    config->chipset = LM_CHIPSET_Q35;
  else if (strcmp (machine, "pc") == 0 ||
           strncmp (machine, "pc-i440fx", 9) == 0)
    config->chipset = LM_CHIPSET_PC;
  else
    return 0;
  config->has_chipset = true;
  return 0;
}

/* Two generations of syntax: <os firmware='efi'>, where libvirt chooses
 * the files, and a <loader> that is named.  A domain with an <os> and
 * neither is a BIOS one. */
static int
parse_os (xmlNodePtr os, const char *what, struct lm_vm_config *config,
          struct lm_error *err)
{
  xmlNodePtr loader = child (os, "loader"), nvram = child (os, "nvram"), c;
  xmlNodePtr features = child (os, "firmware");

  if (os == NULL)
    return 0;
  config->has_firmware = true;
  config->firmware = attribute_is (os, "firmware", "efi") ||
                     attribute_is (loader, "type", "pflash") || nvram
                     ? LM_FIRMWARE_UEFI : LM_FIRMWARE_BIOS;
  config->secure_boot = attribute_is (loader, "secure", "yes");
  for (c = features ? features->children : NULL; c; c = c->next)
    if (is_element (c, "feature") && attribute_is (c, "name", "secure-boot")
        && attribute_is (c, "enabled", "yes"))
      config->secure_boot = true;
  /* The path is the content, or since libvirt 8.5 in a <source>. */
  if (copy_attribute (child (nvram, "source"), "file", &config->nvram, err)
      == -1)
    return -1;
  if (config->nvram == NULL &&
      copy_content (nvram, &config->nvram, err) == -1)
    return -1;
  return parse_type (child (os, "type"), what, config, err);
}

static int
parse_disk (xmlNodePtr node, const char *what, struct lm_vm_config *config,
            struct lm_error *err)
{
  CLEANUP_FREE char *bus = NULL, *order = NULL;
  struct lm_error ignored = LM_ERROR_INIT;
  struct lm_vm_config_disk *disk;
  uint64_t n;

  if (attribute_is (node, "device", "cdrom") ||
      attribute_is (node, "device", "floppy"))
    return 0;
  disk = lm_vm_config_add_disk (config, what, err);
  if (disk == NULL ||
      copy_attribute (child (node, "target"), "dev", &disk->target, err)
      == -1 ||
      copy_attribute (child (node, "target"), "bus", &bus, err) == -1 ||
      copy_attribute (child (node, "boot"), "order", &order, err) == -1 ||
      copy_content (child (node, "serial"), &disk->serial, err) == -1)
    return -1;
  /* Buses that we don't have (usb, sd, xen) are left to the caller. */
  disk->has_bus = bus && lm_disk_bus_parse (bus, &disk->bus, &ignored) == 0;
  if (order) {
    if (number_of (order, 10000, what, "boot order", &n, err) == -1)
      return -1;
    disk->boot_order = (unsigned) n;
  }
  return 0;
}

static int
parse_nic (xmlNodePtr node, const char *what, struct lm_vm_config *config,
           struct lm_error *err)
{
  CLEANUP_FREE char *model = NULL;
  struct lm_error ignored = LM_ERROR_INIT;
  struct lm_vm_config_nic *nic = lm_vm_config_add_nic (config, what, err);

  if (nic == NULL ||
      copy_attribute (child (node, "model"), "type", &model, err) == -1 ||
      copy_attribute (child (node, "mac"), "address", &nic->mac, err) == -1)
    return -1;
  nic->has_model = model &&
                   lm_nic_model_parse (model, &nic->model, &ignored) == 0;
  return 0;
}

int
lm_vm_config_parse_libvirt (const void *data, size_t len, const char *what,
                            struct lm_vm_config *config,
                            struct lm_error *err)
{
  CLEANUP (cleanup_doc) xmlDocPtr doc = parse_xml (data, len, what, err);
  xmlNodePtr domain, devices, c;

  if (doc == NULL)
    return -1;
  domain = xmlDocGetRootElement (doc);
  if (copy_content (child (domain, "name"), &config->name, err) == -1 ||
      copy_content (child (domain, "uuid"), &config->uuid, err) == -1 ||
      parse_memory (child (domain, "memory"), what, &config->memory, err)
      == -1 ||
      parse_cpus (child (domain, "vcpu"), what, &config->cpus, err) == -1 ||
      parse_os (child (domain, "os"), what, config, err) == -1)
    return -1;
  devices = child (domain, "devices");
  for (c = devices ? devices->children : NULL; c; c = c->next) {
    if (is_element (c, "disk") && parse_disk (c, what, config, err) == -1)
      return -1;
    if (is_element (c, "interface") &&
        parse_nic (c, what, config, err) == -1)
      return -1;
  }
  return 0;
}
