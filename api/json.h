/*
 * Strict reading of a JSON request body (RFC 8259) on top of cJSON.
 *
 * cJSON forgives much: duplicate keys, bytes that are not UTF-8, "\u0000" (which cuts the string),
 * numbers like 1e999, raw control characters, text after the end. All of it is refused here, before
 * cJSON sees the body, and with a name for the place. Any thread.
 */
#ifndef API_JSON_H
#define API_JSON_H

#include <cjson/cJSON.h>
#include <stddef.h>

#include "api/problem.h"

#define JSON_MAX_DEPTH 8
#define JSON_MAX_MEMBERS 64 /* of one object */

/* Read one JSON text of `bytes` bytes, which need no terminator. The caller frees *out with
 * cJSON_Delete. Returns 0, or -1 with *problem filled (malformed-json, or out-of-memory). */
int json_parse(cJSON **out, const char *body, size_t bytes, struct problem *problem);

/* "a string", "an object", ...: what a value is, for a message. */
const char *json_type_name(const cJSON *value);

/* Read a whole decimal by JSON's grammar for numbers. Returns 0, or -1 (not one, or not finite). */
int json_read_number(double *out, const char *s);

#endif
