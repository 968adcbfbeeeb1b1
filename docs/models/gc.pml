/* SPDX-License-Identifier: Apache-2.0
 *
 * The protocol of leases, condemned packs and garbage collection
 * (docs/gc.md), for Spin: backups, two collections, retention that may
 * forget anything at any moment, writers that are killed or oversleep at
 * any step, and an observer that revokes their leases.
 *
 * There is one chunk, which every snapshot needs: what holds for any chunk
 * holds for all.  A pack has at most one copy of it.  Pack 0 is there in
 * the beginning, with snapshot 0; every writer has one new pack of its
 * own.  What reads or writes the journal, the list of packs or one lease
 * is one step, since each of those is one object or one record; the leases
 * are looked at one by one.  Records are only counted where something is
 * condemned or spared: nothing else is compared with them.
 *
 * Spin proves that a live snapshot never needs a chunk that is gone.
 * -DBROKEN=1 to 6 leaves out one rule each, and then it is not so.
 */
#ifndef BROKEN
#define BROKEN 0
#endif
#ifndef BACKUPS
#define BACKUPS 1               /* or 2 */
#endif
#ifndef COLLECTIONS
#define COLLECTIONS 2           /* or 1 */
#endif

/* Writers: 0 and 1 back up, 2 and 3 collect.  Packs: 0, and 1 + w for
 * writer w.  Snapshots: 0, and 1 + w.  All sets are bits. */
#define BIT(n) (1 << (n))

byte stored = 1;                /* packs */
byte open;                      /* leases: writers */
byte loaded[4];                 /* what they say; 0: nothing yet */
byte revoked;                   /* writers */

byte sequence = 1;
byte indexed = 1;               /* packs */
byte condemned;                 /* packs */
byte since[5];                  /* the record that condemned a pack */
byte live = 1;                  /* snapshots */

#define GOOD (stored & indexed & ~condemned)
#define ANY (stored & indexed)
#define OLDER(h) ((since[0] <= h -> 1 : 0) | (since[1] <= h -> 2 : 0) | \
                  (since[2] <= h -> 4 : 0) | (since[3] <= h -> 8 : 0) | \
                  (since[4] <= h -> 16 : 0))
#define SAFE (live == 0 || ANY != 0)

inline condemn (packs)
{
  sequence++;
  since[0] = ((packs & 1) -> sequence : since[0]);
  since[1] = ((packs & 2) -> sequence : since[1]);
  since[2] = ((packs & 4) -> sequence : since[2]);
  since[3] = ((packs & 8) -> sequence : since[3]);
  since[4] = ((packs & 16) -> sequence : since[4]);
  condemned = condemned | packs
}

/* Out of the set of the condemned. */
inline release (packs)
{
  condemned = condemned & ~packs;
  since[0] = ((packs & 1) -> 0 : since[0]);
  since[1] = ((packs & 2) -> 0 : since[1]);
  since[2] = ((packs & 4) -> 0 : since[2]);
  since[3] = ((packs & 8) -> 0 : since[3]);
  since[4] = ((packs & 16) -> 0 : since[4])
}

/* Any one member, as a set. */
inline choose (from, ret)
{
  if
  :: from & 1 -> ret = 1
  :: from & 2 -> ret = 2
  :: from & 4 -> ret = 4
  :: from & 8 -> ret = 8
  :: from & 16 -> ret = 16
  :: from == 0 -> ret = 0
  fi
}

proctype backup (byte me)
{
  bool have;

  open = open | BIT (me);
  /* What is good now may be referred to. */
  d_step {
#if BROKEN == 1
    have = ANY != 0;            /* condemned packs count, too */
#else
    have = GOOD != 0;
#endif
    loaded[me] = sequence
  }
  if
  :: have
  :: !have -> stored = stored | BIT (1 + me)
  fi;
  if
  :: goto dies                  /* killed */
  :: skip
  fi;
  /* The record.  That of a lease that was revoked is void. */
  d_step {
    if
#if BROKEN == 2
    :: true ->
#else
    :: revoked & BIT (me)
    :: else ->
#endif
      live = live | BIT (1 + me);
      indexed = (have -> indexed : indexed | BIT (1 + me));
      assert (SAFE)
    fi;
    have = false
  }
  open = open & ~BIT (me);
dies:
  skip
}

proctype collection (byte me)
{
  byte from, chosen, gone, horizon;
  byte seen;                    /* of the pack to be spared */

  open = open | BIT (me);
  /* The first mark, which chooses any good copy. */
  atomic {
    loaded[me] = sequence;
    from = (live != 0 -> GOOD : 0);
    choose (from, chosen);
    from = 0;
    gone = stored & ~condemned & ~chosen
  }
  d_step {
    if
    :: revoked & BIT (me)
    :: else -> gone = gone & ~condemned; condemn (gone)
    fi;
    gone = 0
  }
  /* Perhaps the one that was chosen is copied to a pack of our own. */
  if
  :: (stored & chosen) != 0 && chosen != BIT (1 + me) ->
    stored = stored | BIT (1 + me);
    d_step {
      if
      :: revoked & BIT (me)
      :: else ->
        indexed = indexed | BIT (1 + me);
        chosen = chosen & ~condemned;
        condemn (chosen)
      fi
    }
  :: true
  fi;
  chosen = 0;
  if
  :: goto dies
  :: skip
  fi;
again:
  skip;
  /* Nothing that was marked before is used from here on; and this look at
   * the leases says nothing of what is condemned later. */
  d_step {
    loaded[me] = sequence;
#if BROKEN == 3
    horizon = 255
#else
    horizon = sequence
#endif
  }
#if BROKEN != 4
  /* The oldest of the others, one after the other. */
  horizon = ((open & BIT (0)) && loaded[0] < horizon -> loaded[0] : horizon);
#if BACKUPS > 1
  horizon = ((open & BIT (1)) && loaded[1] < horizon -> loaded[1] : horizon);
#endif
  horizon = ((open & BIT (5 - me)) && loaded[5 - me] < horizon ->
             loaded[5 - me] : horizon);
#endif
  /* The second mark: a good copy, else one that is spared. */
  atomic {
    loaded[me] = sequence;
    from = (GOOD != 0 -> GOOD : ANY);
    from = (live != 0 -> from : 0);
    choose (from, chosen);
    from = 0;
    gone = condemned & OLDER (horizon) & ~chosen;
    chosen = chosen & condemned;
    seen = ((chosen & 1) -> since[0] : ((chosen & 2) -> since[1] :
           ((chosen & 4) -> since[2] : ((chosen & 8) -> since[3] :
           ((chosen & 16) -> since[4] : 0)))))
  }
  /* Both records hold only if these packs are still condemned, and by the
   * same record: another collection may have spared or deleted them. */
  if
  :: chosen != 0 ->
    atomic {
      if
      :: revoked & BIT (me) -> goto ended
#if BROKEN == 5
      :: else -> release (chosen)
#else
      :: !(revoked & BIT (me)) &&
         (!(condemned & chosen) ||
          seen != ((chosen & 1) -> since[0] : ((chosen & 2) -> since[1] :
                  ((chosen & 4) -> since[2] : ((chosen & 8) -> since[3] :
                  since[4]))))) ->
        chosen = 0;
        gone = 0;
        seen = 0;
        goto again
      :: else -> release (chosen)
#endif
      fi
    }
  :: else
  fi;
  atomic {
    chosen = 0;
    seen = 0;
    if
    :: revoked & BIT (me) -> goto ended
#if BROKEN != 6
    :: !(revoked & BIT (me)) &&
       (gone & ~(condemned & OLDER (horizon))) != 0 ->
      gone = 0;
      goto again
#endif
    :: else ->
      release (gone);
      indexed = indexed & ~gone;
      assert (SAFE)
    fi
  }
  if
  :: goto dies
  :: skip
  fi;
  /* The objects go one by one. */
  d_step { stored = stored & ~(gone & 7); assert (SAFE) };
  d_step { stored = stored & ~gone; assert (SAFE) };
ended:
  skip;
  d_step {
    gone = 0;
    horizon = 0;
    open = open & ~BIT (me)
  };
dies:
  skip
}

/* Any snapshot may go at any moment. */
proctype retention ()
{
  if
  :: live = live & ~1
  :: skip
  fi;
  if
  :: live = live & ~2
  :: skip
  fi;
#if BACKUPS > 1
  if
  :: live = live & ~4
  :: skip
  fi
#endif
}

/* The lease of a writer that is dead or asleep is revoked: first by
 * record, then the object goes. */
proctype observer ()
{
  byte w;

  do
  :: w < 4 ->
    if
    :: open & BIT (w) ->
      revoked = revoked | BIT (w);
      open = open & ~BIT (w)
    :: true
    fi;
    w++
  :: w == 4 -> break
  od
}

init
{
  atomic {
    run backup (0);
#if BACKUPS > 1
    run backup (1);
#endif
    run collection (2);
#if COLLECTIONS > 1
    run collection (3);
#endif
    run retention ();
    run observer ()
  }
}
