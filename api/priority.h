/*
 * How urgent a request is. Any thread.
 */
#ifndef API_PRIORITY_H
#define API_PRIORITY_H

enum priority { PRIORITY_HIGH, PRIORITY_NORMAL, PRIORITY_LOW, PRIORITIES };

extern const char *const priority_names[PRIORITIES];

#endif
