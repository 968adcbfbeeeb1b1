/* SPDX-License-Identifier: Apache-2.0
 *
 * Options; see options.h.
 *
 * getopt_long does the parsing, so abbreviations, "--name=value" and "--"
 * work as everywhere.  Its tables are made from ours on each call.  It
 * keeps state in globals: only main's thread calls us.
 */
#include <config.h>

#include "mount/options.h"

#include <assert.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "common/banned.h"

const struct lm_option lm_global_options[] = {
  { .name = "repository", .letter = 'r', .argument = "LOCATION",
    .help = "the repository: a folder, or the URI of a store "
            "(LIVEMOUNT_REPOSITORY)", .completion = LM_COMPLETE_FOLDER },
  { .name = "passphrase-file", .argument = "FILE",
    .help = "read the passphrase from this file (LIVEMOUNT_PASSPHRASE_FILE; "
            "or LIVEMOUNT_PASSPHRASE_COMMAND, whose output it is)",
    .completion = LM_COMPLETE_FILE },
  { .name = "key-file", .argument = "FILE",
    .help = "unlock with this key file (LIVEMOUNT_KEY_FILE)",
    .completion = LM_COMPLETE_FILE },
  { .name = "escrow-key", .argument = "FILE",
    .help = "unlock with the private half of an escrow key (PEM)",
    .completion = LM_COMPLETE_FILE },
  { .name = "accept-rollback",
    .help = "open a repository that is older than what was seen here "
            "before, this once" },
  { .name = "json", .help = "print JSON, for programs" },
  { .name = "quiet", .letter = 'q',
    .help = "no progress and no remarks, only results and errors" },
  { .name = "verbose", .letter = 'v', .help = "say more" },
  { .name = "help", .letter = 'h', .help = "print this help and exit" },
  { .name = "version", .letter = 'V', .help = "print the version and exit" },
  { .name = NULL }
};

void
lm_args_release (struct lm_args *args)
{
  size_t i;

  for (i = 0; i < args->nr_options; i++)
    free (args->options[i].values);
  *args = (struct lm_args) { .nr_options = 0 };
}

static struct lm_option_value *
find (const struct lm_args *args, const char *name)
{
  size_t i;

  for (i = 0; i < args->nr_options; i++)
    if (strcmp (args->options[i].option->name, name) == 0)
      return (struct lm_option_value *) &args->options[i];
  return NULL;
}

/* Make a place for every option of a table, once. */
static void
add_table (struct lm_args *args, const struct lm_option *table)
{
  for (; table && table->name; table++) {
    if (find (args, table->name))
      continue;
    assert (args->nr_options < LM_OPTIONS_MAX);
    args->options[args->nr_options++].option = table;
  }
}

static int
check_choice (const struct lm_option *option, const char *value,
              struct lm_error *err)
{
  const char *p = option->choices;
  size_t len = strlen (value);

  if (p == NULL)
    return 0;
  for (;;) {
    const char *end = strchrnul (p, '|');

    if ((size_t) (end - p) == len && memcmp (p, value, len) == 0)
      return 0;
    if (*end == '\0')
      return lm_error_set (err, LM_ERR_USAGE,
                           "--%s '%.40s': expected one of %s", option->name,
                           value, option->choices);
    p = end + 1;
  }
}

static int
take (struct lm_option_value *v, const char *value, struct lm_error *err)
{
  const char **values;

  if (value && check_choice (v->option, value, err) == -1)
    return -1;
  values = reallocarray (v->values, v->n + 1, sizeof *values);
  if (values == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  values[v->n++] = value;
  v->values = values;
  return 0;
}

/* What getopt_long did not like.  It has moved past the word already. */
static int
bad_option (int c, const char *word, const struct lm_args *args,
            struct lm_error *err)
{
  size_t i, n = 0, len;

  /* A letter.  (For long options optopt is 0, or our index + 256.) */
  if (optopt > 0 && optopt < 256) {
    if (c == ':')
      return lm_error_set (err, LM_ERR_USAGE,
                           "option -%c needs an argument", optopt);
    return lm_error_set (err, LM_ERR_USAGE, "unknown option -%c", optopt);
  }
  if (optopt >= 256) {
    const struct lm_option *o = args->options[optopt - 256].option;

    if (c == ':')
      return lm_error_set (err, LM_ERR_USAGE,
                           "option --%s needs an argument: %s", o->name,
                           o->argument);
    return lm_error_set (err, LM_ERR_USAGE,
                         "option --%s takes no argument", o->name);
  }
  len = strcspn (word, "=");
  for (i = 0; len > 2 && i < args->nr_options; i++)
    if (strncmp (args->options[i].option->name, word + 2, len - 2) == 0)
      n++;
  return lm_error_set (err, LM_ERR_USAGE, "%s option %.60s",
                       n > 1 ? "ambiguous" : "unknown", word);
}

int
lm_args_parse (struct lm_args *args, const struct lm_option *options,
               bool stop, int argc, char *argv[], int *ret_used,
               struct lm_error *err)
{
  struct option longs[LM_OPTIONS_MAX + 1] = { { .name = NULL } };
  char letters[2 * LM_OPTIONS_MAX + 3];
  size_t i, n = 0;
  int c;

  add_table (args, lm_global_options);
  add_table (args, options);

  if (stop)
    letters[n++] = '+';
  letters[n++] = ':';
  for (i = 0; i < args->nr_options; i++) {
    const struct lm_option *o = args->options[i].option;

    longs[i].name = o->name;
    longs[i].has_arg = o->argument ? required_argument : no_argument;
    longs[i].val = 256 + i;
    if (o->letter) {
      letters[n++] = o->letter;
      if (o->argument)
        letters[n++] = ':';
    }
  }
  letters[n] = '\0';

  opterr = 0;
  optind = 0;                   /* glibc: start afresh */
  while ((c = getopt_long (argc, argv, letters, longs, NULL)) != -1) {
    if (c == '?' || c == ':')
      return bad_option (c, optind > 0 ? argv[optind - 1] : "", args, err);
    for (i = 0; i < args->nr_options; i++)
      if (c == 256 + (int) i || c == args->options[i].option->letter)
        break;
    assert (i < args->nr_options);
    if (take (&args->options[i], optarg, err) == -1)
      return -1;
  }
  args->operands = argv + optind;
  args->nr_operands = argc - optind;
  *ret_used = optind;
  return 0;
}

bool
lm_args_flag (const struct lm_args *args, const char *name)
{
  const struct lm_option_value *v = find (args, name);

  assert (v);
  return v->n > 0;
}

const char *
lm_args_string (const struct lm_args *args, const char *name)
{
  const struct lm_option_value *v = find (args, name);

  assert (v && v->option->argument);
  return v->n > 0 ? v->values[v->n - 1] : NULL;
}

const char *const *
lm_args_list (const struct lm_args *args, const char *name, size_t *ret_n)
{
  const struct lm_option_value *v = find (args, name);

  assert (v && v->option->argument);
  *ret_n = v->n;
  return v->values;
}

int
lm_args_size (const struct lm_args *args, const char *name, uint64_t *ret,
              struct lm_error *err)
{
  const char *text = lm_args_string (args, name);

  if (text == NULL)
    return 0;
  if (lm_size_parse (text, ret, err) == -1)
    return lm_error_prefix (err, "--%s", name);
  return 0;
}

int
lm_args_number (const struct lm_args *args, const char *name, uint64_t min,
                uint64_t max, uint64_t *ret, struct lm_error *err)
{
  const char *text = lm_args_string (args, name);
  uint64_t n;

  if (text == NULL)
    return 0;
  if (lm_number_parse (text, max, &n, err) == -1)
    return lm_error_prefix (err, "--%s", name);
  if (n < min)
    return lm_error_set (err, LM_ERR_USAGE, "--%s: %" PRIu64
                         " is too small, the least is %" PRIu64, name, n,
                         min);
  *ret = n;
  return 0;
}

int
lm_args_split (const char *text, char **ret_key, const char **ret_value,
               struct lm_error *err)
{
  const char *eq = strchr (text, '=');
  char *key;

  if (eq == NULL || eq == text || strcspn (text, "/:") < (size_t) (eq - text)) {
    *ret_key = NULL;
    *ret_value = text;
    return 0;
  }
  key = strndup (text, eq - text);
  if (key == NULL)
    return lm_error_set (err, LM_ERR_NOMEM, "out of memory");
  *ret_key = key;
  *ret_value = eq + 1;
  return 0;
}
