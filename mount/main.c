/* SPDX-License-Identifier: Apache-2.0
 *
 * livemount: find the command, parse its options, run it, report.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/error.h"
#include "common/secret.h"
#include "mount/cli.h"
#include "mount/commands.h"
#include "mount/help.h"
#include "mount/report.h"
#include "common/banned.h"

/* A program that was started without a standard descriptor would open its
 * first file as one, and print into it. */
static void
fill_standard_descriptors (void)
{
  int fd;

  do
    fd = open ("/dev/null", O_RDWR);
  while (fd >= 0 && fd <= 2);
  if (fd > 2)
    close (fd);
}

/* --json is wanted for usage errors too, which come before it is
 * parsed. */
static bool
asks_for_json (int argc, char *argv[])
{
  int i;

  for (i = 1; i < argc && strcmp (argv[i], "--") != 0; i++)
    if (strcmp (argv[i], "--json") == 0)
      return true;
  return false;
}

static int
run (struct lm_cli *cli, int argc, char *argv[], struct lm_error *err)
{
  int used, words;
  bool named;

  if (lm_args_parse (&cli->args, NULL, true, argc, argv, &used, err) == -1)
    return lm_error_hint (err, "'livemount help' lists the commands and the "
                          "options before them");
  named = cli->args.nr_operands > 0;
  if (!named) {
    if (lm_args_flag (&cli->args, "version"))
      cli->command = &lm_cmd_version;
    else if (lm_args_flag (&cli->args, "help"))
      cli->command = &lm_cmd_help;
    else {
      lm_error_set (err, LM_ERR_USAGE, "no command was given");
      return lm_error_hint (err, "'livemount help' lists them");
    }
  }
  else {
    argc -= used;
    argv += used;
    cli->command = lm_command_find (argc, argv, &words, err);
    if (cli->command == NULL)
      return -1;
    argc -= words - 1;
    argv += words - 1;
    if (lm_args_parse (&cli->args, cli->command->options, false, argc, argv,
                       &used, err) == -1)
      return lm_error_hint (err, "'livemount help %s' lists its options",
                            cli->command->name);
  }
  cli->json = lm_args_flag (&cli->args, "json");
  cli->quiet = lm_args_flag (&cli->args, "quiet");
  cli->verbose = lm_args_flag (&cli->args, "verbose");
  if (named && lm_args_flag (&cli->args, "help")) {
    lm_help_command (cli->command);
    return LM_EXIT_OK;
  }
  if (lm_command_check_operands (cli->command, &cli->args, err) == -1)
    return -1;
  return cli->command->run (cli, err);
}

int
main (int argc, char *argv[])
{
  struct lm_cli cli = { .command = NULL };
  struct lm_error err = LM_ERROR_INIT;
  int code;

  fill_standard_descriptors ();
  /* A peer or a pipe that goes away is an error, with a message. */
  signal (SIGPIPE, SIG_IGN);
  lm_secret_harden_process ();

  cli.json = asks_for_json (argc, argv);
  code = run (&cli, argc, argv, &err);
  if (code == -1)
    code = lm_report_error (&cli, &err);
  lm_error_clear (&err);
  if (lm_report_flush (&err) == -1 && code == LM_EXIT_OK) {
    /* "| head" has seen enough: that is no news. */
    code = err.sys_errno == EPIPE ? LM_EXIT_FAILED
                                  : lm_report_error (&cli, &err);
  }
  lm_args_release (&cli.args);
  return code;
}
