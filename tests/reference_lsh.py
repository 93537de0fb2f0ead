"""Plain oracles of the hashing and table kernels: slow, short, one sample at a time."""

import numpy as np

MASK = 2**64 - 1
MAX_BORROWS = 100


# rng.h


def rng_mix(z):
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def rng_bits(key, counter):
    return rng_mix((key + (counter + 1) * 0x9E3779B97F4A7C15) & MASK)


def rng_stream(key, index):
    return rng_mix(rng_bits(key, index) ^ 0xD1B54A32D192ED03)


def rng_below(bits, n):
    return (bits >> 32) * n >> 32


# Hash functions


def random_permutation(key, n):
    out = list(range(n))
    for i in reversed(range(1, n)):
        j = rng_below(rng_bits(key, i), i + 1)
        out[i], out[j] = out[j], out[i]
    return out


def random_heads(key, n_flips):
    return sum(rng_bits(key, flip) >> 63 for flip in range(n_flips))


def augmented(vector, last, shift):
    return np.append(vector - shift, last).astype(np.float32) + np.float32(0)


def sign_codes(vector, projections):
    codes = []
    for columns in projections:
        first, second = np.flatnonzero(columns == -1)
        plus = minus = np.float32(0)
        for value in vector[columns[:first]]:
            plus += value
        for value in vector[columns[first + 1 : second]]:
            minus += value
        codes.append(int(plus > minus))
    return codes


def top_indicator(vector, top):
    """1 at the `top` largest entries, the first of equals."""
    out = np.zeros_like(vector)
    out[np.argsort(-vector, kind="stable")[:top]] = 1
    return out


def winner_codes(vector, bins, top, densify, borrow_key):
    """Codes, and the salt of each."""
    if top:
        vector = top_indicator(vector, top)
    own = [int(np.argmax(vector[bin_])) for bin_ in bins]
    if not densify:
        return own, [0] * len(bins)
    empty = [not vector[bin_].any() for bin_ in bins]
    codes, salts = list(own), [0] * len(bins)
    for f in np.flatnonzero(empty):
        key = rng_stream(borrow_key, int(f))
        asked = (rng_below(rng_bits(key, i), len(bins)) for i in range(MAX_BORROWS))
        lender = next((g for g in asked if not empty[g]), len(bins))
        codes[f] = own[lender] if lender < len(bins) else 0
        salts[f] = rng_bits(key, MAX_BORROWS + lender) if top else 0
    return codes, salts


def table_slots(codes, salts, n_tables, code_bits, table_bits):
    slots = []
    for some, salt in zip(np.split(np.array(codes), n_tables),
                          np.split(np.array(salts, dtype=np.uint64), n_tables), strict=True):
        joined = 0
        for code in some:
            joined = joined << code_bits | int(code)
        joined ^= int(np.bitwise_xor.reduce(salt))
        fits = len(some) * code_bits <= table_bits
        slots.append(joined % 2**table_bits if fits else rng_mix(joined) >> 64 - table_bits)
    return slots


# Tables


def build_table(slots, n_slots, bucket_size, reservoir, key):
    """indptr and ids of one table."""
    buckets = [[] for _ in range(n_slots)]
    seen = [0] * n_slots
    for row, slot in enumerate(slots):
        bucket, n = buckets[slot], seen[slot]
        seen[slot] += 1
        if n < bucket_size:
            bucket.append(row)
        elif not reservoir:
            del bucket[0]
            bucket.append(row)
        else:
            place = rng_below(rng_bits(key, row), n + 1)
            if place < bucket_size:
                bucket[place] = row
    indptr = np.append(0, np.cumsum([len(bucket) for bucket in buckets]))
    ids = [row for bucket in buckets for row in bucket]
    return indptr, ids + [-1] * (len(slots) - len(ids))


def most_collisions(indptr, ids, slots, min_collisions, n_candidates):
    """Candidates of one sample, ascending; `slots` has one entry per table."""
    collisions = {}
    for table, slot in enumerate(slots):
        for row in ids[table, indptr[table, slot] : indptr[table, slot + 1]].tolist():
            collisions[row] = collisions.get(row, 0) + 1
    able = [row for row, n in collisions.items() if n >= min_collisions]
    return sorted(sorted(able, key=lambda row: (-collisions[row], row))[:n_candidates])


def first_collisions(indptr, ids, slots, key, n_candidates):
    order = list(range(len(slots)))
    found = []
    for i in range(len(slots)):
        j = i + rng_below(rng_bits(key, 2 * i), len(slots) - i)
        order[i], order[j] = order[j], order[i]
        table, slot = order[i], slots[order[i]]
        bucket = ids[table, indptr[table, slot] : indptr[table, slot + 1]].tolist()
        start = rng_below(rng_bits(key, 2 * i + 1), len(bucket))
        for row in bucket[start:] + bucket[:start]:
            if row not in found and len(found) < n_candidates:
                found.append(row)
    return sorted(found)
