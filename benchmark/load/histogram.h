/* Recording a duration in the layout of histogram.py. */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

enum { SUB_BITS = 7 };

static const uint64_t LONGEST = (1ULL << 42) - 1;

static inline void histogram_record(uint64_t *counts, uint64_t *maximum, uint64_t value) {
    if (value > *maximum) *maximum = value;
    if (value > LONGEST) value = LONGEST;
    int bits = value ? 64 - __builtin_clzll(value) : 0;
    int shift = bits > SUB_BITS + 1 ? bits - SUB_BITS - 1 : 0;
    counts[((uint64_t)shift << SUB_BITS) + (value >> shift)]++;
}

#endif
