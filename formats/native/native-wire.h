/* SPDX-License-Identifier: Apache-2.0
 *
 * The stored structures of the native format, as docs/formats/native.md
 * defines them.  Nothing here computes; decoding is done once, where each
 * structure is read.
 */
#ifndef LM_FORMATS_NATIVE_WIRE_H
#define LM_FORMATS_NATIVE_WIRE_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "common/wire.h"

#define LM_NATIVE_VERSION 1

#define LM_ID_LEN 32            /* chunk and node ids */
#define LM_NAME_ID_LEN 16       /* repository, pack, segment, snapshot… */
#define LM_SLOT_ID_LEN 8
#define LM_NONCE_LEN 12
#define LM_TAG_LEN 16
#define LM_SHA256_LEN 32
#define LM_MASTER_KEY_LEN 32

#define LM_OBJECT_MAGIC "\x89LMO"
#define LM_PACK_MAGIC "\x89LMP"
#define LM_CHUNK_MAGIC "\x89LMC"

/* Types of sealed things (section 3). */
enum lm_object_type {
  LM_TYPE_CHUNK = 1,
  LM_TYPE_NODE = 2,
  LM_TYPE_PACK_TOC = 3,
  LM_TYPE_SEGMENT = 4,
  LM_TYPE_SNAPSHOT = 5,
  LM_TYPE_JOURNAL = 6,
  LM_TYPE_CHECKPOINT = 7,
  LM_TYPE_LEASE = 8,
  LM_TYPE_PIN = 9,
  LM_TYPE_LAYER_KEY = 10,
  LM_TYPE_CACHE_KEY = 11,
  LM_TYPE_KEYRING = 12,
  LM_TYPE_STATE = 13,
  LM_TYPE_TRACE = 14,
};

enum lm_method { LM_METHOD_NONE = 0, LM_METHOD_AES_256_GCM = 1 };

enum lm_encoding {
  LM_ENCODING_RAW = 0,
  LM_ENCODING_ZSTD = 1,
  LM_ENCODING_ZSTD_BASE = 2,    /* needs the feature "base-chunks" */
};

/* Limits, with their reasons in section 14. */
#define LM_CHUNK_SIZE_MIN 4096u
#define LM_CHUNK_SIZE_MAX 1048576u
#define LM_CHUNK_SIZE_DEFAULT 65536u
#define LM_PACK_SIZE_MAX (128u << 20)
#define LM_ENTRIES_MAX 1048576u
#define LM_DISK_SIZE_MAX ((UINT64_C (1) << 63) - 1)
#define LM_DISKS_MAX 256
#define LM_FILES_MAX 1024
#define LM_FILE_SIZE_MAX (UINT64_C (256) << 20)

/* A sealed object's header (section 3). */
struct lm_object_wire {
  uint8_t magic[4];
  lm_le16 version;
  uint8_t type;
  uint8_t method;
  lm_le64 plain_len;
  uint8_t repository[LM_NAME_ID_LEN];
  uint8_t salt[32];
  uint8_t id[32];
  uint8_t nonce[LM_NONCE_LEN];
  lm_le32 epoch;
};
static_assert (sizeof (struct lm_object_wire) == 112, "native.md 3");
static_assert (offsetof (struct lm_object_wire, plain_len) == 8, "");
static_assert (offsetof (struct lm_object_wire, salt) == 32, "");
static_assert (offsetof (struct lm_object_wire, id) == 64, "");
static_assert (offsetof (struct lm_object_wire, nonce) == 96, "");
static_assert (offsetof (struct lm_object_wire, epoch) == 108, "");

/* Associated data of a stored chunk (section 6.1). */
struct lm_chunk_aad_wire {
  uint8_t magic[4];
  lm_le16 version;
  uint8_t type;
  uint8_t encoding;
  lm_le32 plain_len;
  uint8_t repository[LM_NAME_ID_LEN];
  uint8_t id[LM_ID_LEN];
  uint8_t base[LM_ID_LEN];
};
static_assert (sizeof (struct lm_chunk_aad_wire) == 92, "native.md 6.1");
static_assert (offsetof (struct lm_chunk_aad_wire, id) == 28, "");

struct lm_pack_header_wire {
  uint8_t magic[4];
  lm_le16 version;
  uint8_t zero[2];
  lm_le32 epoch;
  uint8_t zero2[4];
  uint8_t repository[LM_NAME_ID_LEN];
  uint8_t id[LM_NAME_ID_LEN];
  uint8_t zero3[16];
};
static_assert (sizeof (struct lm_pack_header_wire) == 64, "native.md 7");

struct lm_pack_trailer_wire {
  lm_le64 toc_offset;
  uint8_t zero[4];
  uint8_t magic[4];
};
static_assert (sizeof (struct lm_pack_trailer_wire) == 16, "native.md 7");

/* Heads of the plain table of contents and of the plain segment. */
struct lm_toc_head_wire {
  lm_le32 entries;
  lm_le32 bases;
  uint8_t zero[8];
};
static_assert (sizeof (struct lm_toc_head_wire) == 16, "native.md 7");

struct lm_segment_head_wire {
  lm_le32 packs;
  lm_le32 entries;
  lm_le32 bases;
  uint8_t zero[4];
};
static_assert (sizeof (struct lm_segment_head_wire) == 16, "native.md 8");

struct lm_segment_pack_wire {
  uint8_t id[LM_NAME_ID_LEN];
  lm_le32 size;
  lm_le32 epoch;
};
static_assert (sizeof (struct lm_segment_pack_wire) == 24, "native.md 8");

/* An entry, the same in tables of contents and segments (section 7). */
struct lm_entry_wire {
  uint8_t id[LM_ID_LEN];
  lm_le32 pack;
  lm_le32 offset;
  lm_le32 stored_len_encoding;  /* low 24 bits length, high 8 encoding */
  lm_le32 plain_len_type;       /* low 24 bits length, high 8 type */
  lm_le32 base;                 /* 0, or 1 + index into the base ids */
};
static_assert (sizeof (struct lm_entry_wire) == 52, "native.md 7");

/* Map nodes (section 10): this header, then the ids. */
#define LM_NODE_FANOUT_LOG2 7
#define LM_NODE_FANOUT 128
#define LM_NODE_LEVELS_MAX 8

struct lm_node_wire {
  uint8_t level;
  uint8_t zero[3];
  uint8_t present[LM_NODE_FANOUT / 8];
};
static_assert (sizeof (struct lm_node_wire) == 20, "native.md 10");

#define LM_NODE_SIZE_MAX \
  (sizeof (struct lm_node_wire) + LM_NODE_FANOUT * LM_ID_LEN)
static_assert (LM_NODE_SIZE_MAX == 4116, "native.md 3");

#endif
