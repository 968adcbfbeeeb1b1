/* SPDX-License-Identifier: Apache-2.0
 * `livemount help` and --help; see help.h.
 */
#include <config.h>

#include "mount/help.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/banned.h"

#define WIDTH 79
#define INDENT 28               /* where the explanations stand */

/* Print TEXT, broken at blanks, each further line indented.  COLUMN is
 * where we are.  A newline in TEXT ends a paragraph. */
static void
wrap (const char *text, unsigned column, unsigned indent)
{
  while (*text) {
    size_t word = strcspn (text, " \n");

    fwrite (text, 1, word, stdout);
    column += word;
    text += word;
    if (*text == '\n') {
      printf ("\n%*s", text[1] ? (int) indent : 0, "");
      column = indent;
      text++;
    }
    else if (*text == ' ') {
      text++;
      if (column + 1 + strcspn (text, " \n") <= WIDTH) {
        putchar (' ');
        column++;
      }
      else {
        printf ("\n%*s", (int) indent, "");
        column = indent;
      }
    }
  }
  putchar ('\n');
}

static void
print_options (const struct lm_option *o)
{
  for (; o && o->name; o++) {
    char left[128];
    int n = snprintf (left, sizeof left, "  %c%c%s --%s%s%s",
                      o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
                      o->letter ? "," : " ", o->name,
                      o->argument ? " " : "", o->argument ? o->argument : "");

    fputs (left, stdout);
    if (n + 2 > INDENT)
      putchar ('\n');
    printf ("%*s", n + 2 > INDENT ? INDENT : INDENT - n, "");
    wrap (o->help, INDENT, INDENT);
  }
}

void
lm_help_overview (void)
{
  const struct lm_command *const *c;
  const char *area = "";

  puts ("Usage: livemount [OPTION...] COMMAND [OPTION...] [OPERAND...]\n");
  wrap ("Keep deduplicated, encrypted backups of VM disks, and boot any of "
        "them in seconds.", 0, 0);
  for (c = lm_commands; *c; c++) {
    if ((*c)->hidden)
      continue;
    if (strcmp ((*c)->area, area) != 0)
      printf ("\n%s:\n", area = (*c)->area);
    printf ("  %-14s", (*c)->name);
    wrap ((*c)->summary, 16, 16);
  }
  puts ("\nOptions of every command:");
  print_options (lm_global_options);
  putchar ('\n');
  wrap ("Snapshots are named VM/TIME, 'VM' alone is the newest one; a disk is "
        "VM/TIME/DISK. 'livemount help COMMAND' and livemount(1) say more.",
        0, 0);
}

void
lm_help_command (const struct lm_command *command)
{
  printf ("Usage: livemount %s [OPTION...]%s%s\n\n%c", command->name,
          command->usage[0] ? " " : "", command->usage,
          toupper ((unsigned char) command->summary[0]));
  wrap (command->summary + 1, 1, 0);
  if (command->description) {
    putchar ('\n');
    wrap (command->description, 0, 0);
  }
  if (command->options) {
    puts ("\nOptions:");
    print_options (command->options);
  }
  puts ("\nOptions of every command:");
  print_options (lm_global_options);
}

static int
run_help (struct lm_cli *cli, struct lm_error *err)
{
  const struct lm_command *command;
  int words;

  if (cli->args.nr_operands == 0) {
    lm_help_overview ();
    return 0;
  }
  command = lm_command_find (cli->args.nr_operands, cli->args.operands,
                             &words, err);
  if (command == NULL)
    return -1;
  lm_help_command (command);
  return 0;
}

const struct lm_command lm_cmd_help = {
  .name = "help",
  .area = "Help",
  .summary = "say what a command does and what options it has",
  .usage = "[COMMAND]",
  .max_operands = 2,
  .completion = LM_COMPLETE_COMMAND,
  .run = run_help,
};
