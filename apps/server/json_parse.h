/* JSON of clients: bounded depth, no name twice. Reentrant. */
#ifndef UF_SERVER_JSON_PARSE_H
#define UF_SERVER_JSON_PARSE_H

#include <stddef.h>
#include <stdint.h>

struct json_t;

/* About the memory that parsing takes for values, their text aside: some 20 times that of a list of
 * short numbers. */
size_t srv_json_weight(const uint8_t *text, size_t size);
/* To be called once, before there are threads: without it, want of memory is told as wrong text. */
void srv_json_watch_memory(void);
/* NULL: `why` says what is wrong, and *status is 400 or, without memory, 503. */
struct json_t *srv_json_parse(const uint8_t *text, size_t size, char why[200], int *status);

#endif
