/* SPDX-License-Identifier: Apache-2.0
 * Options and commands: what is understood, and what is said otherwise.
 */
#include <config.h>

#include "mount/options.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "mount/commands.h"
#include "mount/report.h"

static const struct lm_option table[] = {
  { .name = "name", .letter = 'n', .argument = "NAME", .help = "a name" },
  { .name = "accel", .argument = "HOW", .help = "how",
    .choices = "auto|kvm|tcg" },
  { .name = "attach", .argument = "KIND=FILE", .help = "a file" },
  { .name = "size", .argument = "SIZE", .help = "a size" },
  { .name = "yes", .letter = 'y', .help = "sure" },
  { .name = NULL }
};

#define MAX 12
static struct lm_args args;
static struct lm_error err;
static int used;

static void
reset (void)
{
  lm_args_release (&args);
  lm_error_clear (&err);
}

TestSuite (options, .init = reset, .fini = reset);

/* Words are separated by blanks. */
static int
parse (const char *line, bool stop)
{
  static char copy[256], *argv[MAX + 1];
  char *save = NULL, *word;
  int argc = 0;

  snprintf (copy, sizeof copy, "%s", line);
  for (word = strtok_r (copy, " ", &save); word && argc < MAX;
       word = strtok_r (NULL, " ", &save))
    argv[argc++] = word;
  argv[argc] = NULL;
  return lm_args_parse (&args, stop ? NULL : table, stop, argc, argv, &used,
                        &err);
}

Test (options, options_and_operands_may_be_mixed)
{
  size_t n;
  const char *const *list;

  cr_assert (eq (int, parse ("p web01 --attach a=1 -n x disk --attach=b=2 "
                             "--json -- -y", false), 0), "%s", err.message);
  cr_assert (eq (int, args.nr_operands, 3));
  cr_expect (eq (str, args.operands[0], (char *) "web01"));
  cr_expect (eq (str, args.operands[1], (char *) "disk"));
  cr_expect (eq (str, args.operands[2], (char *) "-y"));
  cr_expect_null (args.operands[3]);
  cr_expect (strcmp (lm_args_string (&args, "name"), "x") == 0);
  cr_expect (lm_args_flag (&args, "json"));
  cr_expect_not (lm_args_flag (&args, "yes"));
  cr_expect_null (lm_args_string (&args, "accel"));
  list = lm_args_list (&args, "attach", &n);
  cr_assert (eq (sz, n, 2));
  cr_expect (strcmp (list[0], "a=1") == 0);
  cr_expect (strcmp (list[1], "b=2") == 0);
}

Test (options, global_options_may_stand_before_the_command_and_after_it)
{
  cr_assert (eq (int, parse ("p -r /a --json cmd -n x", true), 0));
  cr_expect (eq (int, used, 4));
  cr_assert (eq (int, parse ("cmd -n x -r /b", false), 0));
  cr_expect (strcmp (lm_args_string (&args, "repository"), "/b") == 0);
  cr_expect (lm_args_flag (&args, "json"));
  cr_expect (eq (int, args.nr_operands, 0));
}

Test (options, mistakes_are_named)
{
  static const struct { const char *line, *message; } rows[] = {
    { "p --accel=xen", "--accel 'xen': expected one of auto|kvm|tcg" },
    { "p --accel=kv", "--accel 'kv': expected one of auto|kvm|tcg" },
    { "p --accel", "option --accel needs an argument: HOW" },
    { "p -n", "option -n needs an argument" },
    { "p --yes=1", "option --yes takes no argument" },
    { "p --nothing", "unknown option --nothing" },
    { "p --a=1", "ambiguous option --a=1" },
    { "p -z", "unknown option -z" },
    { "p -yz", "unknown option -z" },
  };
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    reset ();
    cr_assert (eq (int, parse (rows[i].line, false), -1), "%s",
               rows[i].line);
    cr_expect (eq (int, err.kind, LM_ERR_USAGE), "%s", rows[i].line);
    cr_expect (eq (str, err.message, (char *) rows[i].message));
  }
}

Test (options, numbers_are_checked)
{
  uint64_t n = 7;

  cr_assert (eq (int, parse ("p --size 1.5G", false), 0));
  cr_expect (eq (int, lm_args_size (&args, "size", &n, &err), 0));
  cr_expect (eq (u64, n, UINT64_C (3) << 29));
  reset ();
  cr_assert (eq (int, parse ("p --size 12", false), 0));
  cr_expect (eq (int, lm_args_number (&args, "size", 20, 30, &n, &err), -1));
  cr_expect (eq (str, err.message,
                 (char *) "--size: 12 is too small, the least is 20"));
  cr_expect (eq (int, lm_args_number (&args, "size", 1, 11, &n, &err), -1));
  cr_expect (eq (int, lm_args_number (&args, "size", 12, 12, &n, &err), 0));
  cr_expect (eq (u64, n, 12));
  reset ();
  n = 7;
  cr_assert (eq (int, parse ("p", false), 0));
  cr_expect (eq (int, lm_args_size (&args, "size", &n, &err), 0));
  cr_expect (eq (u64, n, 7));
}

Test (options, names_of_sources_are_told_from_paths)
{
  static const struct { const char *text, *key, *value; } rows[] = {
    { "disk0=/dev/vda", "disk0", "/dev/vda" },
    { "root=a=b", "root", "a=b" },
    { "/images/a=b.raw", NULL, "/images/a=b.raw" },
    { "nbd+unix:///x?socket=/s", NULL, "nbd+unix:///x?socket=/s" },
    { "x=nbd+unix:///x?socket=/s", "x", "nbd+unix:///x?socket=/s" },
    { "./a=b", NULL, "./a=b" },
    { "=x", NULL, "=x" },
    { "plain.raw", NULL, "plain.raw" },
  };
  size_t i;

  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    const char *value;
    char *key;

    cr_assert (eq (int, lm_args_split (rows[i].text, &key, &value, &err),
                   0));
    cr_expect (rows[i].key ? key && strcmp (key, rows[i].key) == 0
                           : key == NULL, "%s", rows[i].text);
    cr_expect (strcmp (value, rows[i].value) == 0, "%s", rows[i].text);
    free (key);
  }
}

/* ---- the table of commands ---- */

Test (options, every_command_describes_itself)
{
  const struct lm_command *const *p, *const *other;

  for (p = lm_commands; *p; p++) {
    const struct lm_command *c = *p;
    const struct lm_option *o, *g;

    cr_assert_not_null (c->name);
    cr_expect (c->area && c->summary && c->usage && c->run, "%s", c->name);
    cr_expect (c->max_operands < 0 || c->max_operands >= c->min_operands,
               "%s", c->name);
    cr_expect (eq (int, c->usage[0] != 0, c->max_operands != 0), "%s", c->name);
    for (other = lm_commands; other != p; other++)
      cr_expect (strcmp (c->name, (*other)->name) != 0, "%s twice",
                 c->name);
    for (o = c->options; o && o->name; o++) {
      cr_expect (o->help && o->help[0] &&
                 o->help[strlen (o->help) - 1] != '.', "%s --%s", c->name,
                 o->name);
      for (g = lm_global_options; g->name; g++)
        cr_expect (strcmp (g->name, o->name) != 0 &&
                   (o->letter == 0 || o->letter != g->letter),
                   "%s --%s hides a global option", c->name, o->name);
    }
  }
}

Test (options, unknown_commands_get_a_suggestion)
{
  char *typo[] = { (char *) "vresion", NULL };
  char *junk[] = { (char *) "frobnicate-everything", NULL };
  int words;

  cr_expect_null (lm_command_find (1, typo, &words, &err));
  cr_expect (eq (int, err.kind, LM_ERR_USAGE));
  cr_expect (eq (str, err.hint, (char *) "did you mean 'version'?"));
  cr_expect_null (lm_command_find (1, junk, &words, &err));
  cr_expect (eq (str, err.hint,
                 (char *) "'livemount help' lists the commands"));
}

Test (options, exit_codes_are_as_the_manual_says)
{
  cr_expect (eq (int, lm_exit_of (LM_ERR_NONE), 0));
  cr_expect (eq (int, lm_exit_of (LM_ERR_IO), 1));
  cr_expect (eq (int, lm_exit_of (LM_ERR_CORRUPT), 1));
  cr_expect (eq (int, lm_exit_of (LM_ERR_USAGE), 2));
  cr_expect (eq (int, lm_exit_of (LM_ERR_NO_REPOSITORY), 10));
  cr_expect (eq (int, lm_exit_of (LM_ERR_LOCKED), 11));
  cr_expect (eq (int, lm_exit_of (LM_ERR_KEY), 12));
  cr_expect (eq (int, lm_exit_of (LM_ERR_INTERRUPTED), 130));
}
