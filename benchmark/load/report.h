/* What Python sees of a closed loop while it runs; native.py declares the same fields. */
#ifndef REPORT_H
#define REPORT_H

#include "histogram.h"
#include "wire.h"

struct report {
    uint64_t messages, queued, maximum;
    struct failure failure;
};

static inline void report_record(struct report *report, uint64_t *histogram, uint64_t value) {
    histogram_record(histogram, &report->maximum, value);
}

#endif
