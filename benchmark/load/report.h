/* What Python sees of a closed loop while it runs; native.py declares the same fields. */
#ifndef REPORT_H
#define REPORT_H

#include "wire.h"

struct report {
    uint64_t messages, queued, maximum;
    struct failure failure;
};

/* Count a duration in a histogram of the layout of histogram.py. */
static inline void report_record(struct report *report, uint64_t *histogram, uint64_t value) {
    enum { SUB_BITS = 7 };
    const uint64_t longest = (1ULL << 42) - 1;
    if (value > report->maximum) report->maximum = value;
    if (value > longest) value = longest;
    int bits = value ? 64 - __builtin_clzll(value) : 0;
    int shift = bits > SUB_BITS + 1 ? bits - SUB_BITS - 1 : 0;
    histogram[((uint64_t)shift << SUB_BITS) + (value >> shift)]++;
}

#endif
