dnl SPDX-License-Identifier: Apache-2.0
dnl One macro makes both the conditional and its row in the summary, so
dnl that the two cannot disagree.  auto: use it when it is there; yes:
dnl fail without it; no: leave it out.

dnl _LM_OPTIONAL_ROW(NAME, VAR, WHAT)
AC_DEFUN([_LM_OPTIONAL_ROW], [
  AM_CONDITIONAL([HAVE_$2], [test "x$lm_have_$2" = xyes])
  AS_IF([test "x$lm_have_$2" = xyes],
    [AC_DEFINE([HAVE_$2], [1], [Define when $1 is used.])])
  lm_row=`printf '  %-27s %-6s %s' "$1" "$lm_have_$2" "$3"`
  lm_summary="$lm_summary$lm_row
"
])

dnl LM_OPTIONAL(NAME, VAR, PKG-CONFIG MODULE, WHAT)
AC_DEFUN([LM_OPTIONAL], [
  AC_ARG_WITH([$1], [AS_HELP_STRING([--with-$1], [$4 (auto)])],
    [], [with_$1=auto])
  lm_have_$2=no
  AS_IF([test "x$with_$1" != xno],
    [PKG_CHECK_MODULES([$2], [$3], [lm_have_$2=yes],
      [AS_IF([test "x$with_$1" = xyes],
        [AC_MSG_ERROR([--with-$1 was asked for, but $3 was not found])])])])
  _LM_OPTIONAL_ROW([$1], [$2], [$4])
])

dnl LM_OPTIONAL_PROGRAM(NAME, VAR, PROGRAM, WHAT)
AC_DEFUN([LM_OPTIONAL_PROGRAM], [
  AC_ARG_WITH([$1], [AS_HELP_STRING([--with-$1], [$4 (auto)])],
    [], [AS_TR_SH([with_$1])=auto])
  lm_have_$2=no
  AS_IF([test "x$AS_TR_SH([with_$1])" != xno],
    [AC_CHECK_PROG([$2_PROGRAM], [$3], [$3])
     AS_IF([test "x$$2_PROGRAM" != x], [lm_have_$2=yes],
       [test "x$AS_TR_SH([with_$1])" = xyes],
       [AC_MSG_ERROR([--with-$1 was asked for, but $3 was not found])])])
  _LM_OPTIONAL_ROW([$1], [$2], [$4])
])

dnl LM_OPTIONAL_DIR(NAME, VAR, PKG-CONFIG MODULE, ITS VARIABLE, WHAT)
AC_DEFUN([LM_OPTIONAL_DIR], [
  AC_ARG_WITH([$1], [AS_HELP_STRING([--with-$1], [$5 (auto)])],
    [], [AS_TR_SH([with_$1])=auto])
  lm_have_$2=no
  AS_IF([test "x$AS_TR_SH([with_$1])" != xno],
    [PKG_CHECK_VAR([$2_DIR], [$3], [$4], [lm_have_$2=yes],
      [AS_IF([test "x$AS_TR_SH([with_$1])" = xyes],
        [AC_MSG_ERROR([--with-$1 was asked for, but $3 was not found])])])])
  _LM_OPTIONAL_ROW([$1], [$2], [$5])
])
