#include "api/prompt.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/classes.h"

#define POINTER "/prompt"

/* A number or a class name in the text. */
struct word {
    const char *digits; /* a run of decimal digits, or NULL */
    size_t n_digits;
    int class; /* or -1 */
    bool is_plural;
    bool is_spelled; /* a number word that is no class name */
    bool has_count;
    uint32_t count;
    size_t bytes;
};

struct reader {
    uint32_t *labels;
    uint32_t n_labels, max_labels;
    const struct dn_model_info *info;
    struct problem *problem;
    bool has_numerals; /* a class is named by a numeral */
    bool are_digits;   /* the classes are "zero" to "nine" */
    bool by_digit;     /* numbers are read digit by digit */
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Letters beyond ASCII belong to words. */
static bool is_word_char(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (unsigned char)c >= 128;
}

/* Bytes of the ending that ends a word after its stem: "" or a plural's; -1 for anything else. */
static int ending_bytes(const char *s)
{
    static const char *const endings[] = {"'s", "s", "es", ""};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t bytes = strlen(endings[i]);
        if (strncasecmp(s, endings[i], bytes) == 0 && !is_word_char(s[bytes])) {
            return (int)bytes;
        }
    }
    return -1;
}

/* The place of the word s [bytes] in `names`, or -1. */
static int find_name(const char *const names[], size_t n, const char *s, size_t bytes)
{
    for (size_t i = 0; i < n; i++) {
        if (strlen(names[i]) == bytes && strncasecmp(names[i], s, bytes) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static size_t stem_bytes(const char *s)
{
    size_t bytes = 0;
    while (is_word_char(s[bytes])) {
        bytes++;
    }
    return bytes;
}

/* How many a number word is, "twelve" or "twenty-six", or -1; *bytes is its length. "Twenty-first"
 * is none, at its whole length. */
static int count_by_name(const char *s, size_t *bytes)
{
    static const char *const names[] = {"zero",    "one",     "two",       "three",    "four",
                                        "five",    "six",     "seven",     "eight",    "nine",
                                        "ten",     "eleven",  "twelve",    "thirteen", "fourteen",
                                        "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"};
    static const char *const tens[] = {"twenty", "thirty",  "forty",  "fifty",
                                       "sixty",  "seventy", "eighty", "ninety"};
    static const char *const ordinals[] = {"first", "second",  "third",  "fourth", "fifth",
                                           "sixth", "seventh", "eighth", "ninth"};
    *bytes = stem_bytes(s);
    int ten = find_name(tens, sizeof tens / sizeof *tens, s, *bytes);
    if (ten < 0) {
        return find_name(names, sizeof names / sizeof *names, s, *bytes);
    }
    int count = 20 + 10 * ten;
    const char *next = s + *bytes;
    if (*next != ' ' && *next != '-') {
        return count;
    }
    next++;
    size_t unit_bytes = stem_bytes(next);
    int unit = find_name(names, 10, next, unit_bytes);
    bool is_ordinal = find_name(ordinals, 9, next, unit_bytes) >= 0;
    if (unit > 0 || is_ordinal) {
        *bytes += 1 + unit_bytes;
    }
    return is_ordinal ? -1 : count + (unit > 0 ? unit : 0);
}

/* Bytes of a decade at `s`, which says nothing: "1990s", "the 90s", "'90s"; or 0. */
static size_t decade_bytes(const char *start, const char *s)
{
    size_t n = strspn(s, "0123456789");
    bool is_short = n == 2 && ((s - start >= 1 && s[-1] == '\'') ||
                               (s - start >= 4 && strncasecmp(s - 4, "the ", 4) == 0));
    if (!is_short && !(n == 4 && (*s == '1' || *s == '2'))) {
        return 0;
    }
    int ending = ending_bytes(s + n);
    return s[n - 1] == '0' && ending > 0 ? n + (size_t)ending : 0;
}

/* The longest class name that stands at `s` as a word. */
static void find_class(struct word *w, const struct dn_model_info *info, const char *s)
{
    size_t longest = 0;
    for (int i = 0; i < info->n_classes; i++) {
        size_t bytes = strlen(info->class_names[i]);
        if (bytes <= longest || strncasecmp(s, info->class_names[i], bytes) != 0) {
            continue;
        }
        int ending = ending_bytes(s + bytes);
        if (ending >= 0) {
            longest = bytes;
            w->class = i;
            w->is_plural = ending > 0;
            w->bytes = bytes + (size_t)ending;
        }
    }
}

/* The word that begins at `s`. */
static struct word read_word(const struct dn_model_info *info, const char *s, uint32_t max_count)
{
    struct word w = {.class = -1};
    find_class(&w, info, s);
    size_t n_digits = strspn(s, "0123456789");
    int ending = n_digits > 0 ? ending_bytes(s + n_digits) : -1;
    if (ending >= 0 && (w.class < 0 || w.bytes == n_digits + (size_t)ending)) {
        w.digits = s;
        w.n_digits = n_digits;
        w.is_plural = ending > 0;
        w.bytes = n_digits + (size_t)ending;
        w.has_count = true;
        for (size_t i = 0; i < n_digits && w.count <= max_count; i++) {
            w.count = w.count * 10 + (uint32_t)(s[i] - '0');
        }
        return w;
    }
    size_t bytes;
    int count = count_by_name(s, &bytes);
    w.has_count = count >= 0;
    w.count = w.has_count ? (uint32_t)count : 0;
    if (w.class < 0 || bytes > w.bytes) {
        w.class = -1;
        w.is_plural = false;
        w.bytes = bytes;
        w.is_spelled = w.has_count;
    }
    return w;
}

static bool add_label(struct reader *r, uint32_t label)
{
    if (r->n_labels == r->max_labels) {
        problem_add(r->problem, POINTER, "asks for more than %u images", r->max_labels);
        return false;
    }
    r->labels[r->n_labels++] = label;
    return true;
}

/* The class that a digit names where classes are named by numerals, or -1. */
static int class_of_digit(const struct reader *r, char digit)
{
    for (int i = 0; r->by_digit && i < r->info->n_classes; i++) {
        if (r->info->class_names[i][0] == digit) {
            return i;
        }
    }
    return -1;
}

/* The labels of a word, once. */
static bool add_word_once(struct reader *r, const struct word *w)
{
    uint32_t n_classes = (uint32_t)r->info->n_classes, number = 0;
    if (w->is_spelled) { /* digit by digit; at most "ninety-nine" */
        return !r->are_digits ||
               ((w->count < 10 || add_label(r, w->count / 10)) && add_label(r, w->count % 10));
    }
    if (w->class >= 0) {
        return add_label(r, (uint32_t)w->class);
    }
    for (size_t i = 0; i < w->n_digits; i++) {
        uint32_t digit = (uint32_t)(w->digits[i] - '0');
        number = r->by_digit ? digit : number * 10 + digit;
        int label = r->has_numerals ? class_of_digit(r, w->digits[i]) : (int)number;
        if (label < 0) {
            problem_add(r->problem, POINTER,
                        "model %s has no class \"%.*s\"; numerals are names of its classes",
                        r->info->name, (int)(w->n_digits < 20 ? w->n_digits : 20), w->digits);
            return false;
        }
        if (number >= n_classes && !r->has_numerals) {
            problem_add(r->problem, POINTER, "the labels of model %s are 0..%u", r->info->name,
                        n_classes - 1);
            return false;
        }
        if ((r->by_digit || i + 1 == w->n_digits) && !add_label(r, (uint32_t)label)) {
            return false;
        }
    }
    return true;
}

static bool add_word(struct reader *r, const struct word *w, uint32_t count)
{
    bool is_fine = true;
    for (uint32_t i = 0; i < count && is_fine && (w->class >= 0 || w->digits || w->is_spelled);
         i++) {
        is_fine = add_word_once(r, w);
    }
    return is_fine;
}

/* A copy of `prompt` with the digits and the punctuation of other scripts in ASCII; the caller
 * frees it; NULL: no memory. */
static char *plain_text(const struct dn_model_info *info, const char *prompt)
{
    static const struct {
        const char *utf8; /* the first of `n` characters that differ in the last byte */
        char first;
        int n;
    } rows[] = {
        {"\uff10", '0', 10}, {"\u0660", '0', 10}, {"\u06f0", '0', 10}, {"\u0966", '0', 10},
        {"\u3007", '0', 1},  {"\u96f6", '0', 1},  {"\u4e00", '1', 1},  {"\u4e8c", '2', 1},
        {"\u4e09", '3', 1},  {"\u56db", '4', 1},  {"\u4e94", '5', 1},  {"\u516d", '6', 1},
        {"\u4e03", '7', 1},  {"\u516b", '8', 1},  {"\u4e5d", '9', 1},  {"\u2018", '\'', 1},
        {"\u2019", '\'', 1}, {"\u201c", '"', 1},  {"\u201d", '"', 1},  {"\u2013", ',', 1},
        {"\u2014", ',', 1},  {"\uff0c", ',', 1},  {"\u3001", ',', 1},  {"\u3002", ',', 1},
        {"\u060c", ',', 1},  {"\u3000", ' ', 1},  {"\u2026", ',', 1},
    };
    for (int i = 0; i < info->n_classes; i++) {
        for (const char *c = info->class_names[i]; *c; c++) {
            if ((unsigned char)*c >= 128) {
                return strdup(prompt); /* they may be letters of its names */
            }
        }
    }
    char *text = malloc(strlen(prompt) + 1), *end = text;
    while (text && *prompt) {
        char c = *prompt;
        size_t bytes = 1;
        for (size_t i = 0; (unsigned char)*prompt >= 128 && i < sizeof rows / sizeof *rows; i++) {
            size_t last = strlen(rows[i].utf8) - 1;
            if (strncmp(prompt, rows[i].utf8, last) != 0) {
                continue;
            }
            int step = (unsigned char)prompt[last] - (unsigned char)rows[i].utf8[last];
            if (step >= 0 && step < rows[i].n) {
                c = (char)(rows[i].first + step);
                bytes = last + 1;
                break;
            }
        }
        *end++ = c;
        prompt += bytes;
    }
    if (text) {
        *end = '\0';
    }
    return text;
}

static int read_text(uint32_t *labels, uint32_t max_labels, const struct dn_model_info *info,
                     const char *prompt, struct problem *problem)
{
    static const struct word none = {.class = -1};
    struct reader r = {.labels = labels,
                       .max_labels = max_labels,
                       .info = info,
                       .problem = problem,
                       .has_numerals = classes_have_numerals(info),
                       .by_digit = info->n_classes <= 10};
    for (int i = 0; r.has_numerals && i < info->n_classes; i++) {
        r.by_digit = r.by_digit && is_digit(info->class_names[i][0]) && !info->class_names[i][1];
    }
    r.are_digits = info->n_classes == 10;
    for (int i = 0; r.are_digits && i < info->n_classes; i++) {
        size_t bytes;
        r.are_digits = count_by_name(info->class_names[i], &bytes) == i;
    }
    struct word held = none; /* a number that may yet turn out to count what follows */
    bool is_fine = true;
    for (const char *s = prompt; *s && is_fine;) {
        bool is_break = !is_word_char(*s) && !strchr(" \t\r\n-", *s);
        struct word w = {.class = -1, .bytes = 1};
        size_t decade = decade_bytes(prompt, s);
        if (decade > 0) {
            s += decade;
            continue;
        }
        if (is_word_char(*s)) {
            w = read_word(info, s, max_labels);
            is_break = w.bytes == 3 && strncasecmp(s, "and", 3) == 0;
        }
        s += w.bytes;
        if (w.is_plural && held.has_count) {
            is_fine = add_word(&r, &w, held.count);
            held = none;
        } else if (w.class >= 0 || w.has_count || is_break) {
            is_fine = add_word(&r, &held, 1);
            held = w.has_count && !w.is_plural ? w : none;
            is_fine = is_fine && (held.has_count || add_word(&r, &w, 1));
        }
    }
    is_fine = is_fine && add_word(&r, &held, 1);
    if (is_fine && r.n_labels == 0) {
        problem_add(problem, POINTER,
                    "names nothing that model %s can draw: say a label, 0..%d, or a class name, "
                    "like %s",
                    info->name, info->n_classes - 1, info->class_names[0]);
        is_fine = false;
    }
    return is_fine ? (int)r.n_labels : DN_EINVAL;
}

int prompt_read(uint32_t *labels, uint32_t max_labels, const struct dn_model_info *info,
                const char *prompt, struct problem *problem)
{
    char *text = plain_text(info, prompt);
    if (!text) {
        return DN_ENOMEM;
    }
    int n = read_text(labels, max_labels, info, text, problem);
    free(text);
    return n;
}
