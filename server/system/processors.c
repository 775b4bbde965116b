#include "server/system/processors.h"

#include <limits.h>
#include <math.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One of the two hierarchies that can limit processor time: where it is mounted, and what of it. */
struct hierarchy {
    bool is_v2;
    bool is_mounted;
    char group[PATH_MAX]; /* this process's, from the hierarchy's root */
    char shown[PATH_MAX]; /* the group that the mount shows as its top */
    char mount[PATH_MAX];
};

/* ---- which group, and where it is to be seen ------------------------------------------------- */

/* Is `word` one of the comma-separated list of `bytes` bytes? */
static bool has_word(const char *list, size_t bytes, const char *word)
{
    for (const char *end = list + bytes; list < end;) {
        size_t n = strcspn(list, ", \n");
        n = n < (size_t)(end - list) ? n : (size_t)(end - list);
        if (n == strlen(word) && memcmp(list, word, n) == 0) {
            return true;
        }
        list += n + 1;
    }
    return false;
}

static FILE *open_under(const char *root, const char *path)
{
    char name[PATH_MAX];
    int n = snprintf(name, sizeof name, "%s%s", root, path);
    return n > 0 && (size_t)n < sizeof name ? fopen(name, "re") : NULL;
}

/* A line is ID:CONTROLLERS:GROUP; version 2 has ID 0 and no controllers. */
static void find_group(struct hierarchy *h, const char *root)
{
    FILE *file = open_under(root, "/proc/self/cgroup");
    char *line = NULL;
    size_t room = 0;
    while (file && getline(&line, &room, file) > 0) {
        char *controllers = strchr(line, ':'), *group = NULL;
        if (!controllers || !(group = strchr(++controllers, ':'))) {
            continue;
        }
        size_t bytes = (size_t)(group - controllers);
        bool is_ours =
            h->is_v2 ? strncmp(line, "0::", 3) == 0 : has_word(controllers, bytes, "cpu");
        if (is_ours) {
            group[strcspn(group, "\n")] = '\0';
            snprintf(h->group, sizeof h->group, "%s", group + 1);
        }
    }
    free(line);
    if (file) {
        fclose(file);
    }
}

/* mountinfo writes blanks and backslashes as three octal digits. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from;) {
        if (from[0] == '\\' && strspn(from + 1, "01234567") >= 3) {
            *to++ = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
            from += 4;
        } else {
            *to++ = *from++;
        }
    }
    *to = '\0';
}

/* A line is ID PARENT DEVICE SHOWN MOUNT OPTIONS [TAGS...] - TYPE SOURCE OPTIONS (proc(5)). */
static void find_mount(struct hierarchy *h, const char *root)
{
    FILE *file = open_under(root, "/proc/self/mountinfo");
    char *line = NULL;
    size_t room = 0;
    while (!h->is_mounted && file && getline(&line, &room, file) > 0) {
        char *rest = strstr(line, " - "), *shown = line;
        if (!rest) {
            continue;
        }
        *rest = '\0';
        rest += 3;
        char *type = strsep(&rest, " ");
        strsep(&rest, " "); /* the source */
        bool is_ours =
            h->is_v2 ? strcmp(type, "cgroup2") == 0
                     : strcmp(type, "cgroup") == 0 && rest && has_word(rest, strlen(rest), "cpu");
        for (int i = 0; i < 3; i++) {
            strsep(&shown, " ");
        }
        char *mount = shown;
        strsep(&mount, " ");
        if (is_ours && mount) {
            mount[strcspn(mount, " ")] = '\0';
            unescape(shown);
            unescape(mount);
            snprintf(h->shown, sizeof h->shown, "%s", shown);
            snprintf(h->mount, sizeof h->mount, "%s", mount);
            h->is_mounted = true;
        }
    }
    free(line);
    if (file) {
        fclose(file);
    }
}

/* ---- quotas ---------------------------------------------------------------------------------- */

/* The first two words of a file as numbers; a word that is none (as "max") is -1. */
static void read_numbers(const char *folder, const char *name, double numbers[2])
{
    char words[2][32] = {"", ""};
    FILE *file = open_under(folder, name);
    if (file) {
        if (fscanf(file, "%31s %31s", words[0], words[1]) < 1) {
            words[0][0] = '\0';
        }
        fclose(file);
    }
    for (int i = 0; i < 2; i++) {
        char *end;
        numbers[i] = strtod(words[i], &end);
        if (end == words[i] || *end) {
            numbers[i] = -1;
        }
    }
}

/* The quota of one group alone; 0: none. */
static double group_quota(const char *folder, bool is_v2)
{
    double n[2], period[2];
    if (is_v2) {
        read_numbers(folder, "/cpu.max", n);
    } else {
        read_numbers(folder, "/cpu.cfs_quota_us", n);
        read_numbers(folder, "/cpu.cfs_period_us", period);
        n[1] = period[0];
    }
    return n[0] > 0 && n[1] > 0 ? n[0] / n[1] : 0;
}

static double hierarchy_quota(struct hierarchy *h, const char *root)
{
    find_group(h, root);
    find_mount(h, root);
    if (!h->is_mounted || !h->group[0]) {
        return 0;
    }
    /* A container sees its own group as the mount's top, and may still be told the whole name. */
    size_t top = strcmp(h->shown, "/") == 0 ? 0 : strlen(h->shown);
    const char *below = h->group;
    if (strncmp(below, h->shown, top) == 0 && (below[top] == '/' || !below[top])) {
        below += top;
    } else {
        below = "";
    }
    char folder[3 * PATH_MAX];
    snprintf(folder, sizeof folder, "%s%s%s", root, h->mount, below);
    size_t least = strlen(root) + strlen(h->mount);
    double quota = 0;
    for (size_t length = strlen(folder);;) {
        while (length > least && folder[length - 1] == '/') {
            length--;
        }
        folder[length] = '\0';
        double here = group_quota(folder, h->is_v2);
        if (here > 0 && (quota <= 0 || here < quota)) {
            quota = here;
        }
        if (length <= least) {
            return quota;
        }
        while (length > least && folder[length - 1] != '/') {
            length--;
        }
    }
}

double processors_quota(const char *root)
{
    double least = 0;
    for (int version = 1; version <= 2; version++) {
        struct hierarchy *h = calloc(1, sizeof *h);
        if (!h) {
            break; /* no memory: nothing that runs here will go far */
        }
        h->is_v2 = version == 2;
        double quota = hierarchy_quota(h, root);
        if (quota > 0 && (least <= 0 || quota < least)) {
            least = quota;
        }
        free(h);
    }
    return least;
}

int processors_usable(int allowed, double quota)
{
    if (quota <= 0 || quota >= allowed) {
        return allowed;
    }
    /* A hair of a further processor is a rounding error. */
    int begun = (int)ceil(quota - 0.01);
    return begun > 0 ? begun : 1;
}

void processors_read(struct processors *p)
{
    cpu_set_t set;
    long allowed = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set)
                                                               : sysconf(_SC_NPROCESSORS_ONLN);
    p->allowed = allowed > 0 ? (int)allowed : 1;
    p->quota = processors_quota("");
    p->usable = processors_usable(p->allowed, p->quota);
}
