/*
 * How many threads it pays to compute with: the processors that the affinity mask allows, or less
 * where control groups (of a container, a pod, a unit with CPUQuota=) allow less time than that.
 *
 * Read from /proc and /sys when asked; no state. Any thread.
 */
#ifndef SERVER_SYSTEM_PROCESSORS_H
#define SERVER_SYSTEM_PROCESSORS_H

struct processors {
    int allowed;  /* by the affinity mask, at least 1 */
    double quota; /* processors' worth of time, as 1.5; 0: no limit */
    int usable;   /* threads to compute with, at least 1 */
};

/* Fill *p for this process. */
void processors_read(struct processors *p);

/* The least quota of this process's control groups and all above them, of version 1 and 2; 0 where
 * there is none or it cannot be read. `root` stands before /proc and every mount: "" but in tests.
 */
double processors_quota(const char *root);

/* Threads for a quota: one for each whole or begun processor's worth, at most `allowed`. */
int processors_usable(int allowed, double quota);

#endif
