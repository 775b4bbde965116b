#include "server/cli/sample_output.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/image.h"
#include "api/npy.h"
#include "server/cli/sample_run.h"

#define PART ".part"

/* ---- names ---------------------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

int sample_output_parse(struct sample_output_name *name, const char *text, struct dn_error *err)
{
    *name = (struct sample_output_name){.kind = OUTPUT_PNG, .text = text};
    const char *percent = strchr(text, '%');
    if (strcmp(text, OUTPUT_STDOUT) == 0)
        return isatty(STDOUT_FILENO) == 1 ? sample_error(err, DN_EINVAL,
                                                         "a PNG is nothing for a terminal: "
                                                         "send it to a file or a program")
                                          : 0;
    if (strlen(text) > PATH_MAX - 32)
        return sample_error(err, DN_EINVAL, "a name of more than %d bytes", PATH_MAX - 32);
    if (!ends_with(text, ".png") && !ends_with(text, ".npy"))
        return sample_error(err, DN_EINVAL, "'%.200s': a name ending in .png or .npy expected",
                            text);
    if (ends_with(text, ".npy"))
        name->kind = OUTPUT_NPY;
    if (percent == NULL)
        return 0;
    const char *end = percent + 1;
    if (*end == '0')
        for (end++; *end >= '0' && *end <= '9' && name->digits < 10; end++)
            name->digits = 10 * name->digits + (*end - '0');
    if (*end != 'd' || name->digits > 10 || strchr(end, '%') != NULL)
        return sample_error(err, DN_EINVAL, "'%.200s': one %%d, or %%04d and the like, expected",
                            text);
    if (name->kind == OUTPUT_NPY)
        return sample_error(err, DN_EINVAL, "'%.200s': one array holds all images, so no %%d",
                            text);
    name->kind = OUTPUT_PNG_EACH;
    name->prefix_bytes = (size_t)(percent - text);
    name->suffix = end + 1;
    return 0;
}

/* ---- files ---------------------------------------------------------------------------------- */

static int file_error(struct dn_error *err, const char *path)
{
    return sample_error(err, DN_EIO, "write %.300s: %s", path, strerror(errno));
}

static int part_open(const char *path, struct dn_error *err)
{
    char part[PATH_MAX];
    snprintf(part, sizeof part, "%s" PART, path);
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return fd >= 0 ? fd : file_error(err, part);
}

static int write_at(int fd, const char *path, const void *data, size_t n_bytes, size_t at,
                    struct dn_error *err)
{
    for (const char *bytes = data; n_bytes > 0;) {
        ssize_t n = pwrite(fd, bytes, n_bytes, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return file_error(err, path);
        bytes += n;
        at += (size_t)n;
        n_bytes -= (size_t)n;
    }
    return 0;
}

/* Close `fd`; give the file its name if it is whole, else remove it. */
static int part_close(int fd, const char *path, bool is_whole, struct dn_error *err)
{
    char part[PATH_MAX];
    snprintf(part, sizeof part, "%s" PART, path);
    bool is_closed = close(fd) == 0;
    if (is_whole && is_closed && rename(part, path) == 0)
        return 0;
    int code = is_whole ? file_error(err, path) : 0;
    unlink(part);
    return code;
}

static int write_file(const char *path, const uint8_t *bytes, size_t n_bytes, struct dn_error *err)
{
    if (strcmp(path, OUTPUT_STDOUT) == 0) {
        bool is_written = fwrite(bytes, 1, n_bytes, stdout) == n_bytes && fflush(stdout) == 0;
        return is_written ? 0 : file_error(err, "standard output");
    }
    int fd = part_open(path, err);
    if (fd < 0)
        return fd;
    int code = write_at(fd, path, bytes, n_bytes, 0, err);
    int close_code = part_close(fd, path, code == 0, err);
    return code < 0 ? code : close_code;
}

/* ---- images --------------------------------------------------------------------------------- */

static size_t image_bytes(const struct sample_params *params)
{
    const struct dn_model_info *info = dn_model_info(params->model);
    return (size_t)info->height * (size_t)info->width * (size_t)info->channels;
}

int sample_output_open(struct sample_output *out, const struct sample_output_name *name,
                       const struct sample_params *params, struct dn_error *err)
{
    *out = (struct sample_output){.name = *name, .params = params, .fd = -1};
    const struct dn_model_info *info = dn_model_info(params->model);
    if (name->kind == OUTPUT_PNG) {
        out->images = calloc(params->n_rows, image_bytes(params));
        if (out->images == NULL)
            return sample_error(err, DN_ENOMEM, "%s", dn_strerror(DN_ENOMEM));
    }
    if (name->kind != OUTPUT_NPY)
        return 0;
    out->fd = part_open(name->text, err);
    if (out->fd < 0)
        return out->fd;
    uint8_t header[NPY_HEADER_BYTES];
    npy_header(header, params->n_rows, info->height, info->width, info->channels);
    int code = write_at(out->fd, name->text, header, sizeof header, 0, err);
    if (code < 0)
        part_close(out->fd, name->text, false, err);
    return code;
}

static int write_png(const struct sample_output *out, size_t i, const uint8_t *pixels,
                     const char *path, struct dn_error *err)
{
    struct image image = {.png = NULL};
    int code = out->params->layout == LAYOUT_GRID
                   ? image_encode_sheet(&image, out->params, pixels, NULL)
                   : image_encode(&image, out->params, i, pixels, NULL);
    if (code < 0)
        sample_error(err, code, "%.300s: %s", path, dn_strerror(code));
    else
        code = write_file(path, image.png, image.png_bytes, err);
    image_free(&image);
    return code;
}

int sample_output_image(void *context, size_t i, const uint8_t *pixels, struct dn_error *err)
{
    struct sample_output *out = context;
    const struct sample_output_name *name = &out->name;
    size_t n_bytes = image_bytes(out->params);
    switch (name->kind) {
    case OUTPUT_PNG:
        memcpy(out->images + i * n_bytes, pixels, n_bytes);
        return 0;
    case OUTPUT_PNG_EACH: {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%.*s%0*zu%s", (int)name->prefix_bytes, name->text,
                 name->digits, i, name->suffix);
        return write_png(out, i, pixels, path, err);
    }
    case OUTPUT_NPY:
        return write_at(out->fd, name->text, pixels, n_bytes, NPY_HEADER_BYTES + i * n_bytes, err);
    }
    assert(false && "every kind is handled");
    return DN_EINVAL;
}

int sample_output_close(struct sample_output *out, bool is_whole, struct dn_error *err)
{
    int code = 0;
    if (out->name.kind == OUTPUT_PNG && is_whole)
        code = write_png(out, 0, out->images, out->name.text, err);
    if (out->fd >= 0)
        code = part_close(out->fd, out->name.text, is_whole, err);
    free(out->images);
    return code;
}
