/*
 * What a prompt in words asks for: "7", "a handwritten seven", "four sevens", "2026". Any thread.
 *
 * A class name of the model or a number names something to draw; a model of at most ten classes
 * reads numbers digit by digit, and one of the ten digits also number words ("twenty-six"). A
 * number before a plural counts ("four sevens", "3 8s"). Decades ("1990s"), ordinals and other
 * words say nothing: the answer tells what was understood.
 */
#ifndef API_PROMPT_H
#define API_PROMPT_H

#include <stddef.h>
#include <stdint.h>

#include "api/problem.h"
#include "core/denoise.h"

/* Read the labels that `prompt` names, in its order, into labels [max_labels]. Returns their number
 * (at least 1), or DN_EINVAL with the fault added under /prompt, or DN_ENOMEM. */
int prompt_read(uint32_t *labels, uint32_t max_labels, const struct dn_model_info *info,
                const char *prompt, struct problem *problem);

#endif
