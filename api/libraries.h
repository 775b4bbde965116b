/*
 * The libraries below the API, as loaded. Any thread.
 */
#ifndef API_LIBRARIES_H
#define API_LIBRARIES_H

struct api_libraries {
    char cjson[16], libpng[16], zlib[16], nettle[16]; /* versions, "1.2.3" */
};

void api_libraries(struct api_libraries *libraries);

#endif
