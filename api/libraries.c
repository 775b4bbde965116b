#include "api/libraries.h"

#include <cjson/cJSON.h>
#include <nettle/version.h>
#include <png.h>
#include <stdio.h>
#include <zlib.h>

void api_libraries(struct api_libraries *libraries)
{
    unsigned png = (unsigned)png_access_version_number(); /* 10639 is 1.6.39 */
    snprintf(libraries->cjson, sizeof libraries->cjson, "%s", cJSON_Version());
    snprintf(libraries->libpng, sizeof libraries->libpng, "%u.%u.%u", png / 10000 % 100,
             png / 100 % 100, png % 100);
    snprintf(libraries->zlib, sizeof libraries->zlib, "%s", zlibVersion());
    snprintf(libraries->nettle, sizeof libraries->nettle, "%d.%d", nettle_version_major(),
             nettle_version_minor());
}
