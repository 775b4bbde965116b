#include "server/cli/shown.h"

#include <stdarg.h>
#include <stdlib.h>

#include "api/text.h"
#include "core/denoise.h"

void print_shown(FILE *out, const char *s)
{
    struct text t = TEXT_INIT;
    text_shown(&t, s);
    char *shown = text_take(&t, NULL);
    fputs(shown != NULL ? shown : dn_strerror(DN_ENOMEM), out);
    free(shown);
}

void complain(const char *format, ...)
{
    char *message = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&message, format, arguments) < 0)
        message = NULL;
    va_end(arguments);
    fputs("denoised: ", stderr);
    print_shown(stderr, message != NULL ? message : dn_strerror(DN_ENOMEM));
    fputc('\n', stderr);
    free(message);
}
