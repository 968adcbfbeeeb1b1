/* SPDX-License-Identifier: Apache-2.0
 * XTS of blocks; see overlay-crypt.h.
 */
#include <config.h>

#include "proxy/overlay-crypt.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "common/cleanup.h"
#include "common/secret.h"
#include "common/wire.h"
#include "common/banned.h"

/* As many as nbdkit has threads by default. */
#define POOL_MAX 16

struct worker {
  EVP_CIPHER_CTX *encrypt;
  EVP_CIPHER_CTX *decrypt;
};

struct lm_xts {
  EVP_CIPHER *cipher;
  uint8_t *key;                 /* secret memory */
  pthread_mutex_t lock;         /* the pool */
  size_t nr_idle;
  struct worker idle[POOL_MAX];
};

static void
worker_release (struct worker *w)
{
  EVP_CIPHER_CTX_free (w->encrypt);
  EVP_CIPHER_CTX_free (w->decrypt);
}

static int
worker_init (struct lm_xts *x, struct worker *w, struct lm_error *err)
{
  w->encrypt = EVP_CIPHER_CTX_new ();
  w->decrypt = EVP_CIPHER_CTX_new ();
  if (w->encrypt && w->decrypt &&
      EVP_EncryptInit_ex2 (w->encrypt, x->cipher, x->key, NULL, NULL) &&
      EVP_DecryptInit_ex2 (w->decrypt, x->cipher, x->key, NULL, NULL))
    return 0;
  worker_release (w);
  return lm_error_set (err, LM_ERR_IO, "OpenSSL: AES-256-XTS failed");
}

static int
take_worker (struct lm_xts *x, struct worker *w, struct lm_error *err)
{
  bool found = false;

  pthread_mutex_lock (&x->lock);
  if (x->nr_idle > 0) {
    *w = x->idle[--x->nr_idle];
    found = true;
  }
  pthread_mutex_unlock (&x->lock);
  return found ? 0 : worker_init (x, w, err);
}

static void
give_worker (struct lm_xts *x, struct worker *w)
{
  bool full = true;

  pthread_mutex_lock (&x->lock);
  if (x->nr_idle < POOL_MAX) {
    x->idle[x->nr_idle++] = *w;
    full = false;
  }
  pthread_mutex_unlock (&x->lock);
  if (full)
    worker_release (w);
}

struct lm_xts *
lm_xts_new (const uint8_t key[LM_LAYER_KEY_LEN], struct lm_error *err)
{
  struct lm_xts *x = calloc (1, sizeof *x);
  struct worker w;

  if (x == NULL) {
    lm_error_set (err, LM_ERR_NOMEM, "out of memory");
    return NULL;
  }
  pthread_mutex_init (&x->lock, NULL);
  x->cipher = EVP_CIPHER_fetch (NULL, "AES-256-XTS", NULL);
  x->key = lm_secret_alloc (LM_LAYER_KEY_LEN);
  if (x->cipher == NULL || x->key == NULL) {
    lm_error_set (err, LM_ERR_IO, "OpenSSL: there is no AES-256-XTS");
    lm_xts_free (x);
    return NULL;
  }
  memcpy (x->key, key, LM_LAYER_KEY_LEN);
  /* A key that OpenSSL refuses (equal halves) is found here. */
  if (take_worker (x, &w, err) == -1) {
    lm_xts_free (x);
    return NULL;
  }
  give_worker (x, &w);
  return x;
}

void
lm_xts_free (struct lm_xts *x)
{
  if (x == NULL)
    return;
  while (x->nr_idle > 0)
    worker_release (&x->idle[--x->nr_idle]);
  EVP_CIPHER_free (x->cipher);
  lm_secret_free (x->key, LM_LAYER_KEY_LEN);
  pthread_mutex_destroy (&x->lock);
  free (x);
}

static int
run (EVP_CIPHER_CTX *ctx, uint64_t first, size_t count, const uint8_t *src,
     uint8_t *dst, struct lm_error *err)
{
  size_t i;
  int n;

  for (i = 0; i < count; i++) {
    lm_le64 tweak[2] = { lm_put_le64 (first + i), lm_put_le64 (0) };

    if (!EVP_CipherInit_ex2 (ctx, NULL, NULL, tweak[0].b, -1, NULL) ||
        !EVP_CipherUpdate (ctx, dst + i * LM_OVERLAY_BLOCK, &n,
                           src + i * LM_OVERLAY_BLOCK, LM_OVERLAY_BLOCK) ||
        n != LM_OVERLAY_BLOCK)
      return lm_error_set (err, LM_ERR_IO, "OpenSSL: AES-256-XTS failed");
  }
  return 0;
}

int
lm_xts_encrypt (struct lm_xts *x, uint64_t first, size_t count,
                const void *src, void *dst, struct lm_error *err)
{
  struct worker w;
  int r;

  if (take_worker (x, &w, err) == -1)
    return -1;
  r = run (w.encrypt, first, count, src, dst, err);
  give_worker (x, &w);
  return r;
}

int
lm_xts_decrypt (struct lm_xts *x, uint64_t first, size_t count,
                const void *src, void *dst, struct lm_error *err)
{
  struct worker w;
  int r;

  if (take_worker (x, &w, err) == -1)
    return -1;
  r = run (w.decrypt, first, count, src, dst, err);
  give_worker (x, &w);
  return r;
}
