/* The curves of a run, as JSON, SVG and a page. */
#ifndef UF_CLI_TRAINING_REPORT_H
#define UF_CLI_TRAINING_REPORT_H

#include "cli.h"
#include "uniface/train.h"

typedef struct training_report {
    uf_train_point *points;
    size_t point_count;
    double pictures_per_s;
    size_t unreadable;
} training_report;

void training_report_take(training_report *r, const uf_train_state *s);
void training_report_json(const training_report *r, const uf_model *m, const char *output, FILE *f);
/* report.html, report.json, loss.svg and agreement.svg in a folder that is made. Returns the exit
 * status. */
int training_report_save(const training_report *r, const uf_model *m, const char *folder);
void training_report_close(training_report *r);

#endif
