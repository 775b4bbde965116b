/*
 * Which algorithm the native tables use for a convolution. It is a function of the shape alone and
 * the same for all of them, because each algorithm adds in an order of its own.
 *
 * DIRECT: one chain of fused multiply-adds an output element: bias, then taps, then channels.
 *
 * LANES, for very few output channels: DN_LANES chains an element, over taps and over every
 * DN_LANES-th channel; added pairwise, then the bias.
 *
 * WINOGRAD_2 and _4: F(2x2,3x3) and F(4x4,3x3) of Winograd's minimal filtering (Lavin & Gray 2016).
 * An output tile Y of M x M comes from the input tile D of (M + 2) x (M + 2) that lies around it:
 *
 *     Y = A' [ sum over channels of (G g G') * (B' D B) ] A + bias        (* by element)
 *
 * with (M + 2)^2 multiplications a channel in place of 9 M^2. The matrices are those of Cook and
 * Toom for the points 0, 1, -1, inf (M = 2) and 0, a, -a, b, -b, inf with a = 3/4, b = 3/2 (M = 4).
 * These a and b, whose powers are exact, lose a bit at most against the direct sum; the usual 1 and
 * 2 lose three. One line of each transform for M = 4, where every product but the first of a sum is
 * one fused multiply-add:
 *
 *     B' d:  t0 = d0 a^2 b^2 + (d4 - d2 (a^2 + b^2))       A' m:  p = m1 + m2, q = m1 - m2
 *            t1,2 = (d4 - d2 b^2) +- a (d3 - d1 b^2)              r = m3 + m4, s = m3 - m4
 *            t3,4 = (d4 - d2 a^2) +- b (d3 - d1 a^2)              y0 = (m0 + p) + r
 *            t5 = d1 a^2 b^2 + (d5 - d3 (a^2 + b^2))              y1 = s b + q a
 *                                                                 y2 = r b^2 + p a^2
 *                                                                 y3 = s b^3 + (q a^3 + m5)
 *
 * and for M = 2:
 *
 *     B' d:  t = d2 - d0, d1 + d2, d2 - d1, d3 - d1        A' m:  y0 = m0 + (m1 + m2)
 *                                                                 y1 = (m1 - m2) + m3
 *
 * Columns are transformed first, then rows.
 */
#ifndef CORE_KERNELS_CONV_FORM_H
#define CORE_KERNELS_CONV_FORM_H

#include "core/kernels/kernels.h"

enum dn_conv_form { DN_CONV_DIRECT, DN_CONV_LANES, DN_CONV_WINOGRAD_2, DN_CONV_WINOGRAD_4 };

enum { DN_WINOGRAD_MAX = 6 }; /* rows of the largest input tile */

#define DN_WINOGRAD_A 0.75f
#define DN_WINOGRAD_B 1.5f

enum dn_conv_form dn_conv_form(const struct dn_conv *conv);

/* M of a Winograd form, else 0. */
int dn_winograd_tile(enum dn_conv_form form);

/* G g G', [M+2][M+2], of weight g[n * step] of tap n = 0 .. 8. Computed in double precision. */
void dn_winograd_weight(float *transformed, int m, const float *g, size_t step);

#endif
