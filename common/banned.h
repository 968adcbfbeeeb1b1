/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls that do not compile.  Include last, after all system headers.
 * Unbounded string functions, non-reentrant functions, number parsers
 * that can't report an error, and raw byte-order calls (use
 * common/wire.h).
 */
#ifndef LM_COMMON_BANNED_H
#define LM_COMMON_BANNED_H

#define LM_BANNED(f) sorry_##f##_is_banned_see_common_banned_h

#undef strcpy
#define strcpy(...) LM_BANNED (strcpy)
#undef strcat
#define strcat(...) LM_BANNED (strcat)
#undef strncpy
#define strncpy(...) LM_BANNED (strncpy)
#undef strncat
#define strncat(...) LM_BANNED (strncat)
#undef sprintf
#define sprintf(...) LM_BANNED (sprintf)
#undef vsprintf
#define vsprintf(...) LM_BANNED (vsprintf)
#undef gets
#define gets(...) LM_BANNED (gets)
#undef strtok
#define strtok(...) LM_BANNED (strtok)
#undef gmtime
#define gmtime(...) LM_BANNED (gmtime)
#undef localtime
#define localtime(...) LM_BANNED (localtime)
#undef ctime
#define ctime(...) LM_BANNED (ctime)
#undef asctime
#define asctime(...) LM_BANNED (asctime)
#undef atoi
#define atoi(...) LM_BANNED (atoi)
#undef atol
#define atol(...) LM_BANNED (atol)
#undef atoll
#define atoll(...) LM_BANNED (atoll)
#undef rand
#define rand(...) LM_BANNED (rand)
#undef mktemp
#define mktemp(...) LM_BANNED (mktemp)
#undef htole16
#define htole16(...) LM_BANNED (htole16)
#undef htole32
#define htole32(...) LM_BANNED (htole32)
#undef htole64
#define htole64(...) LM_BANNED (htole64)
#undef le16toh
#define le16toh(...) LM_BANNED (le16toh)
#undef le32toh
#define le32toh(...) LM_BANNED (le32toh)
#undef le64toh
#define le64toh(...) LM_BANNED (le64toh)
#undef htonl
#define htonl(...) LM_BANNED (htonl)
#undef ntohl
#define ntohl(...) LM_BANNED (ntohl)

#endif
