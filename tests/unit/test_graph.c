/* Recording a network: every shape that kernels and tables rely on is checked when it is recorded,
 * and the error names the operation, weight or value at fault. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/base/error.h"
#include "core/graph/graph.h"
#include "core/kernels/kernels.h"

static struct dn_graph *g;
static struct dn_error err;
static int image, label, t; /* [4,4,8], and the vectors' inputs */

/* Weights of every shape are there: what is refused is refused by recording itself. */
static const float *any_weight(void *context, const char *name, const int64_t *shape, int rank,
                               struct dn_error *e)
{
    static const float weight;
    (void)context, (void)name, (void)e;
    for (int i = 0; i < rank; i++)
        assert_true(shape[i] > 0); /* nobody asks for what cannot be */
    return &weight;
}

static int begin(void **state)
{
    (void)state;
    const struct dn_weight_source source = {any_weight, NULL};
    err = (struct dn_error){0};
    assert_int_equal(dn_graph_new(&g, &source, &err), 0);
    image = dn_graph_image(g, 4, 4, 8);
    label = dn_graph_label(g, 3);
    t = dn_graph_timestep(g, (struct dn_time_input){.timesteps = 10, .divisor = 10});
    assert_int_equal(dn_graph_error(g), 0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    dn_graph_free(g);
    return 0;
}

/* The first error, with that text; and a new graph for the next. */
static void expect(const char *text)
{
    if (dn_graph_error(g) != DN_EFORMAT || !strstr(err.text, text))
        fail_msg("\"%s\" expected, %d \"%s\" found", text, dn_graph_error(g), err.text);
    /* Sticky: nothing is recorded behind it, and nothing else is said. */
    assert_int_equal(dn_graph_act(g, DN_ACT_RELU, image), -1);
    assert_non_null(strstr(err.text, text));
    end(NULL);
    begin(NULL);
}

static int embedding(int width)
{
    return dn_graph_embedding(g, "label", label, width);
}

static void a_whole_network_is_recorded(void **state)
{
    (void)state;
    int x = dn_graph_conv(g, "in", image, 16, 3, 1, true);
    int time = dn_graph_fourier(g, "time", t, 16);
    int down = dn_graph_conv(g, "down", dn_graph_add(g, x, time), 16, 3, 2, false);
    down = dn_graph_group_norm(g, "norm", dn_graph_add(g, down, embedding(16)), 4);
    down = dn_graph_attention(g, down, down, dn_graph_layer_norm(g, "ln", down), 2);
    int up = dn_graph_concat(g, x, dn_graph_conv_transpose(g, "up", down, 16));
    int y = dn_graph_act(g, DN_ACT_SILU, dn_graph_linear(g, "out", up, 8, true));
    dn_graph_name(g, y, "first");
    dn_graph_name(g, y, "second"); /* in its place */
    dn_graph_output(g, y);
    assert_int_equal(dn_graph_error(g), 0);
}

static void inputs_are_checked(void **state)
{
    (void)state;
    dn_graph_image(g, 4, 4, 8);
    expect("image: a network has one");
    dn_graph_label(g, 0);
    expect("label: 0 labels: 1 or more expected");
    dn_graph_timestep(g, (struct dn_time_input){.timesteps = 0, .divisor = 1});
    expect("timestep: a number of timesteps");
    dn_graph_timestep(g, (struct dn_time_input){.timesteps = 5, .divisor = 0});
    expect("timestep: a number of timesteps");
    dn_graph_embedding(g, "label", t, 8);
    expect("label: a label expected");
    dn_graph_embedding(g, "label", image, 8);
    expect("label: a label expected");
    dn_graph_embedding(g, "label", label, 0);
    expect("label: 0 channels: 1 to 4096 expected");
    dn_graph_fourier(g, "time", label, 8);
    expect("time: a timestep expected");
    dn_graph_fourier(g, "time", t, 7);
    expect("time: an even number of features expected");
    dn_graph_fourier(g, "time", t, 5000);
    expect("time: 5000 channels: 1 to 4096 expected");
}

static void images_have_a_shape(void **state)
{
    static const int bad[][3] = {{0, 4, 1}, {4, -1, 1}, {4, 4, 0}, {4097, 4, 1}, {4, 4, 1025}};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const struct dn_weight_source source = {any_weight, NULL};
        struct dn_graph *other;
        struct dn_error e = {0};
        assert_int_equal(dn_graph_new(&other, &source, &e), 0);
        assert_int_equal(dn_graph_image(other, bad[i][0], bad[i][1], bad[i][2]), -1);
        assert_int_equal(dn_graph_error(other), DN_EFORMAT);
        assert_non_null(strstr(e.text, "image: "));
        dn_graph_free(other);
    }
}

/* Kernels keep DN_MAX_CHANNELS floats on the stack. */
static void channels_of_maps_are_bounded(void **state)
{
    (void)state;
    const int most = DN_MAX_CHANNELS;
    assert_true(dn_graph_conv(g, "a", image, most, 3, 1, true) >= 0);
    assert_int_equal(dn_graph_error(g), 0);
    dn_graph_conv(g, "a", image, most + 1, 3, 1, true);
    expect("a: 1025 channels: 1 to 1024 expected");
    dn_graph_conv(g, "a", image, 0, 3, 1, true);
    expect("a: 0 channels");
    dn_graph_linear(g, "a", image, most + 1, true);
    expect("a: 1025 channels: 1 to 1024 expected");
    dn_graph_linear(g, "a", image, -1, true);
    expect("a: -1 channels");
    dn_graph_linear(g, "a", embedding(8), 4097, true);
    expect("a: 4097 channels: 1 to 4096 expected");
    dn_graph_conv_transpose(g, "a", image, most + 1);
    expect("a: 1025 channels");
    int wide = dn_graph_conv(g, "wide", image, most, 1, 1, true);
    dn_graph_concat(g, wide, image);
    expect("1032 channels: 1 to 1024 expected");
    wide = dn_graph_conv(g, "wide", image, most, 1, 1, true);
    dn_graph_concat(g, image, wide);
    expect("wide [4,4,1024]: 1032 channels");
}

static void sides_are_bounded(void **state)
{
    (void)state;
    int x = image;
    for (int i = 0; i < 10; i++)
        x = dn_graph_conv_transpose(g, "up", x, 1);
    assert_int_equal(dn_graph_error(g), 0);
    dn_graph_conv_transpose(g, "last", x, 1);
    expect("last: 8192 x 8192 pixels");
}

static void maps_and_vectors_are_told_apart(void **state)
{
    (void)state;
    dn_graph_conv(g, "a", embedding(8), 8, 1, 1, true);
    expect("a: a map expected, a vector found");
    dn_graph_conv_transpose(g, "a", embedding(8), 8);
    expect("a: a map expected, a vector found");
    dn_graph_group_norm(g, "a", embedding(8), 2);
    expect("a: a map expected, a vector found");
    dn_graph_layer_norm(g, "a", embedding(8));
    expect("a: a map expected, a vector found");
    int v = embedding(8);
    dn_graph_attention(g, v, v, v, 1);
    expect("attention: maps of one shape expected: queries label [8]");
    dn_graph_concat(g, embedding(8), embedding(8));
    expect("concat: maps of one size expected: label [8], label [8]");
}

static void convolutions_are_checked(void **state)
{
    (void)state;
    dn_graph_conv(g, "a", image, 8, 5, 1, true);
    expect("a: no convolution of 5 x 5");
    dn_graph_conv(g, "a", image, 8, 3, 3, true);
    expect("a: no convolution of 3 x 3 with a stride of 3");
    dn_graph_conv(g, "a", image, 8, 3, 0, true);
    expect("a: no convolution of 3 x 3 with a stride of 0");
    int x = dn_graph_conv(g, "a", dn_graph_conv(g, "a", image, 8, 3, 2, true), 8, 3, 2, true);
    dn_graph_conv(g, "odd", x, 8, 3, 2, true);
    expect("odd: a stride of 2 needs even height and width");
    dn_graph_group_norm(g, "a", image, 3);
    expect("a: 3 groups do not divide 8 channels");
    dn_graph_group_norm(g, "a", image, 0);
    expect("a: 0 groups");
    dn_graph_act(g, DN_ACT_NONE, image);
    expect("activation: ReLU or SiLU expected");
    dn_graph_act(g, DN_ACT_SILU_BF16, image);
    expect("activation: ReLU or SiLU expected");
}

static void shapes_of_attention_are_compared(void **state)
{
    (void)state;
    for (int which = 0; which < 3; which++) {
        static const char *const said[] = {"keys image", "keys k [4,4,16]", "values k [4,4,16]"};
        static const char *const smaller[] = {"keys image", "keys down [2,2,8]", "values down"};
        int other = dn_graph_conv(g, "k", image, 16, 1, 1, true);
        dn_graph_name(g, image, "image");
        dn_graph_attention(g, which == 0 ? other : image, which == 1 ? other : image,
                           which == 2 ? other : image, 1);
        expect(said[which]);
        other = dn_graph_conv(g, "down", image, 8, 3, 2, true);
        dn_graph_name(g, image, "image");
        dn_graph_attention(g, which == 0 ? other : image, which == 1 ? other : image,
                           which == 2 ? other : image, 1);
        expect(smaller[which]);
    }
    dn_graph_name(g, image, "image");
    dn_graph_attention(g, image, image, image, 3);
    expect("image [4,4,8]: 3 heads do not divide 8 channels");
    dn_graph_attention(g, image, image, image, 0);
    expect("0 heads do not divide");
}

static void shapes_of_sums_and_of_parts_are_compared(void **state)
{
    (void)state;
    dn_graph_add(g, image, embedding(7));
    expect("add: the shapes do not match: a value [4,4,8], label [7]");
    dn_graph_add(g, embedding(8), image);
    expect("add: the shapes do not match: label [8], a value [4,4,8]");
    dn_graph_add(g, image, dn_graph_conv(g, "wide", image, 16, 1, 1, true));
    expect("wide [4,4,16]");
    dn_graph_add(g, image, dn_graph_conv(g, "down", image, 8, 3, 2, true));
    expect("down [2,2,8]");
    dn_graph_add(g, embedding(8), dn_graph_fourier(g, "time", t, 8));
    expect("no common table: label [8], time [8]");
    dn_graph_concat(g, image, dn_graph_conv(g, "down", image, 8, 3, 2, true));
    expect("concat: maps of one size expected: a value [4,4,8], down [2,2,8]");
    dn_graph_concat(g, image, embedding(8));
    expect("concat: maps of one size expected");
    dn_graph_concat(g, image, image);
    expect("concat: a value [4,4,8] with itself");
}

static void only_what_is_there_is_read(void **state)
{
    static const int wrong[] = {-1, 99, 1 << 30};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int x = wrong[i];
        dn_graph_embedding(g, "a", x, 8);
        expect("a: there is no value");
        dn_graph_fourier(g, "a", x, 8);
        expect("a: there is no value");
        dn_graph_linear(g, "a", x, 8, true);
        expect("there is no value");
        dn_graph_conv(g, "a", x, 8, 3, 1, true);
        expect("there is no value");
        dn_graph_attention(g, image, image, x, 1);
        expect("attention: there is no value");
        dn_graph_attention(g, image, x, image, 1);
        expect("attention: there is no value");
        dn_graph_add(g, image, x);
        expect("add: there is no value");
        dn_graph_concat(g, x, image);
        expect("concat: there is no value");
        dn_graph_name(g, x, "n");
        expect("n: there is no value");
        dn_graph_output(g, x);
        expect("output: there is no value");
    }
}

static void the_output_is_an_image(void **state)
{
    (void)state;
    dn_graph_output(g, embedding(8));
    expect("output: label [8] has not the image's shape");
    dn_graph_output(g, dn_graph_conv(g, "wide", image, 9, 3, 1, true));
    expect("output: wide [4,4,9] has not the image's shape");
    dn_graph_output(g, dn_graph_conv(g, "down", image, 8, 3, 2, true));
    expect("output: down [2,2,8] has not the image's shape");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_whole_network_is_recorded),
        TEST(inputs_are_checked),
        TEST(images_have_a_shape),
        TEST(channels_of_maps_are_bounded),
        TEST(sides_are_bounded),
        TEST(maps_and_vectors_are_told_apart),
        TEST(convolutions_are_checked),
        TEST(shapes_of_attention_are_compared),
        TEST(shapes_of_sums_and_of_parts_are_compared),
        TEST(only_what_is_there_is_read),
        TEST(the_output_is_an_image),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
