/* SPDX-License-Identifier: Apache-2.0
 *
 * `livemount completion bash` prints the script that bash loads; it is
 * made when we are built, from the tables, and installed.  Names that
 * only the machine knows come from `livemount completion sessions`, `…
 * snapshots` and `… slots` at the moment they are asked for; those never
 * prompt.
 */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "mount/commands.h"
#include "mount/key-cli.h"
#include "mount/open-repository.h"
#include "mount/session.h"
#include "mount/snapshot-json.h"
#include "common/banned.h"

static const char *
kind_name (enum lm_completion kind)
{
  switch (kind) {
  case LM_COMPLETE_NOTHING: return "nothing";
  case LM_COMPLETE_FILE: return "files";
  case LM_COMPLETE_FOLDER: return "folders";
  case LM_COMPLETE_SNAPSHOT: return "snapshots";
  case LM_COMPLETE_SESSION: return "sessions";
  case LM_COMPLETE_COMMAND: return "commands";
  case LM_COMPLETE_SLOT: return "slots";
  }
  return "nothing";
}

/* Cases for the words after which an argument comes. */
static void
print_arguments (const struct lm_option *o, const char *command)
{
  for (; o && o->name; o++) {
    const char *p;

    if (o->argument == NULL)
      continue;
    printf ("        %s:--%s", command, o->name);
    if (o->letter)
      printf ("|%s:-%c", command, o->letter);
    fputs (") ", stdout);
    if (o->choices) {
      fputs ("kind='words ", stdout);
      for (p = o->choices; *p; p++)
        putchar (*p == '|' ? ' ' : *p);
      fputs ("'", stdout);
    }
    else
      printf ("kind=%s", kind_name (o->completion));
    fputs (" ;;\n", stdout);
  }
}

static void
print_names (const struct lm_option *o)
{
  for (; o && o->name; o++)
    printf ("--%s ", o->name);
}

/* "key list" is one case word for the shell: "key_list". */
static void
print_command_word (const char *name)
{
  for (; *name; name++)
    putchar (*name == ' ' ? '_' : *name);
}

static void
print_commands (void)
{
  const struct lm_command *const *c, *const *before;

  for (c = lm_commands; *c; c++) {
    size_t len = strcspn ((*c)->name, " ");

    if ((*c)->hidden)
      continue;
    for (before = lm_commands; before != c; before++)
      if (strncmp ((*before)->name, (*c)->name, len) == 0 &&
          strcspn ((*before)->name, " ") == len)
        break;
    if (before == c)
      printf ("%.*s ", (int) len, (*c)->name);
  }
}

/* A colon begins a new word for bash, and times have them: the functions
 * of the package bash-completion put such words together, and take off each
 * reply what stands before the last colon. */
static const char head[] =
  "# bash completion for livemount; made from its tables, not by hand\n"
  "_livemount ()\n"
  "{\n"
  "    local cur prev words cword\n"
  "    local command= options= kind=nothing i word\n"
  "    _get_comp_words_by_ref -n : cur prev words cword\n"
  "    COMPREPLY=()\n"
  "    for ((i = 1; i < cword; i++)); do\n"
  "        word=${words[i]}\n"
  "        case $word in\n"
  "            -r|--repository|--passphrase-file|--key-file|--escrow-key)\n"
  "                ((i++)) ;;\n"
  "            -*) ;;\n"
  "            *) command=$word; break ;;\n"
  "        esac\n"
  "    done\n";

static const char tail[] =
  "    if [[ $cur == -* ]]; then\n"
  "        kind=\"words $options\"\n"
  "    fi\n"
  "    case $kind in\n"
  "        words*) COMPREPLY=($(compgen -W \"${kind#words}\" -- \"$cur\")) ;;\n"
  "        files) compopt -o filenames\n"
  "            COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n"
  "        folders) compopt -o filenames\n"
  "            COMPREPLY=($(compgen -d -- \"$cur\")) ;;\n"
  "        snapshots|sessions|slots)\n"
  "            COMPREPLY=($(compgen -W \"$(livemount completion $kind \\\n"
  "                2>/dev/null </dev/null)\" -- \"$cur\")) ;;\n"
  "        commands)\n"
  "            COMPREPLY=($(compgen -W \"$commands\" -- \"$cur\")) ;;\n"
  "    esac\n"
  "    __ltrim_colon_completions \"$cur\"\n"
  "}\n"
  "complete -F _livemount livemount\n";

static void
print_script (void)
{
  const struct lm_command *const *c;

  fputs (head, stdout);
  fputs ("    local commands='", stdout);
  print_commands ();
  puts ("'");
  fputs ("    options='", stdout);
  print_names (lm_global_options);
  puts ("'");
  puts ("    if [[ -z $command ]]; then kind=commands; fi");
  /* Two-word commands. */
  puts ("    case $command in");
  for (c = lm_commands; *c; c++) {
    size_t len = strcspn ((*c)->name, " ");

    if ((*c)->name[len] == '\0' || (*c)->hidden)
      continue;
    printf ("        %.*s) if ((cword == i + 1)); then\n"
            "                kind=\"$kind %s\"; kind=\"words ${kind#nothing}"
            "\"; kind=${kind/words  words/words}\n"
            "            elif [[ ${words[i+1]} == %s ]]; then\n"
            "                command=", (int) len, (*c)->name,
            (*c)->name + len + 1, (*c)->name + len + 1);
    print_command_word ((*c)->name);
    puts ("\n            fi ;;&");
  }
  puts ("    esac");
  puts ("    case $command in");
  for (c = lm_commands; *c; c++) {
    if ((*c)->hidden)
      continue;
    fputs ("        ", stdout);
    print_command_word ((*c)->name);
    fputs (") ", stdout);
    if ((*c)->completion != LM_COMPLETE_NOTHING)
      printf ("kind=%s; ", kind_name ((*c)->completion));
    fputs ("options+='", stdout);
    print_names ((*c)->options);
    puts ("' ;;");
  }
  puts ("    esac");
  puts ("    case $command:$prev in");
  for (c = lm_commands; *c; c++) {
    char word[64];
    size_t i;

    if ((*c)->hidden)
      continue;
    snprintf (word, sizeof word, "%s", (*c)->name);
    for (i = 0; word[i]; i++)
      if (word[i] == ' ')
        word[i] = '_';
    print_arguments ((*c)->options, word);
  }
  print_arguments (lm_global_options, "*");
  puts ("    esac");
  fputs (tail, stdout);
}

static int
print_sessions (struct lm_error *err)
{
  char **names = lm_session_names (false, err);
  size_t i;

  if (names == NULL)
    return -1;
  for (i = 0; names[i]; i++)
    puts (names[i]);
  lm_session_names_free (names);
  return 0;
}

/* VMs, and all their snapshots; only where no passphrase is to be typed. */
static int
print_snapshots (const struct lm_cli *cli, struct lm_error *err)
{
  const struct lm_repository_request open = {
    .read_only = true, .no_prompt = true,
  };
  CLEANUP_REPOSITORY struct lm_repository *repo =
    lm_cli_open_repository (cli, &open, NULL, err);
  const struct lm_snapshot_entry *entries;
  size_t i, n;

  if (repo == NULL)
    return -1;
  entries = lm_repository_snapshots (repo, &n);
  for (i = 0; i < n; i++) {
    char name[LM_SNAPSHOT_NAME_LEN];

    lm_cli_snapshot_name (entries[i].vm, entries[i].time, name);
    printf ("%s\n%s\n", entries[i].vm, name);
  }
  return 0;
}

/* Needs no key. */
static int
print_slots (const struct lm_cli *cli, struct lm_error *err)
{
  CLEANUP (lm_key_place_release)
    struct lm_key_place place = LM_KEY_PLACE_INIT;
  size_t i;

  if (lm_key_place_open (cli, false, &place, err) == -1)
    return -1;
  for (i = 0; i < place.n; i++) {
    char id[LM_SLOT_TEXT_LEN];

    lm_key_slot_text (place.slots[i].id, id);
    puts (id);
  }
  return 0;
}

static int
run_completion (struct lm_cli *cli, struct lm_error *err)
{
  const char *what = cli->args.operands[0];

  if (strcmp (what, "bash") == 0) {
    print_script ();
    return 0;
  }
  if (strcmp (what, "sessions") == 0)
    return print_sessions (err);
  if (strcmp (what, "snapshots") == 0)
    return print_snapshots (cli, err);
  if (strcmp (what, "slots") == 0)
    return print_slots (cli, err);
  return lm_error_set (err, LM_ERR_USAGE, "completion '%.40s': expected "
                       "bash, sessions, slots or snapshots", what);
}

const struct lm_command lm_cmd_completion = {
  .name = "completion",
  .area = "Help",
  .summary = "print what the shell needs for completion",
  .usage = "bash|sessions|slots|snapshots",
  .min_operands = 1,
  .max_operands = 1,
  .hidden = true,
  .run = run_completion,
};
