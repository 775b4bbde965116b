/*
 * What a picture says of its origin in the terms of the press: an XMP packet (ISO 16684-1) with the
 * IPTC's properties for media that a trained model has made. docs/provenance.md describes it. Any
 * thread.
 */
#ifndef API_XMP_H
#define API_XMP_H

#include "core/denoise.h"

#define XMP_KEY "XML:com.adobe.xmp" /* of the iTXt chunk */

/* The packet of any picture that denoised `version` draws with this model: always the same bytes.
 * The caller frees; NULL when memory ran out. */
char *xmp_packet(const struct dn_model_info *info, const char *version);

#endif
