/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Allocation flags by name: which bit is what comes from a kernel's type information, or from 6.1. */
#include "unit.h"

#include <linux/btf.h>

#include "gfp.h"
#include "ktypes.h"

/* ---- a kernel that tells ---- */

struct told {
        const char *name;
        int value;
};

/* A BTF with two enums: one that is not it, and an anonymous one with these enumerators. */
static char *write_btf(const struct told *told, size_t n) {
        char strings[1024] = "", *path = strdup("/tmp/memcgprof-btf-XXXXXX");
        struct {
                struct btf_type head;
                struct btf_enum values[32];
        } bits = {.head = {.info = BTF_KIND_ENUM << 24 | (uint32_t)n, .size = 4}};
        struct {
                struct btf_type head;
                struct btf_enum value;
        } other = {.head = {.info = BTF_KIND_ENUM << 24 | 1, .size = 4}};
        size_t length = 1, types = sizeof(other) + sizeof(bits.head) + n * sizeof(struct btf_enum);
        struct btf_header header = {.magic = BTF_MAGIC, .version = BTF_VERSION, .hdr_len = sizeof(header)};
        int fd = mkstemp(path);
        FILE *f = fdopen(fd, "w");

        assert_non_null(f);
        for (size_t i = 0; i < n; i++) {
                bits.values[i] = (struct btf_enum){.name_off = (uint32_t)length, .val = told[i].value};
                strcpy(strings + length, told[i].name);
                length += strlen(told[i].name) + 1;
        }
        header.type_len = (uint32_t)types;
        header.str_off = (uint32_t)types;
        header.str_len = (uint32_t)length;
        fwrite(&header, sizeof(header), 1, f);
        fwrite(&other, sizeof(other), 1, f);
        fwrite(&bits, types - sizeof(other), 1, f);
        fwrite(strings, length, 1, f);
        fclose(f);
        return path;
}

static const struct told kernel[] = {
        {"___GFP_DMA_BIT", 0},
        {"___GFP_ZERO_BIT", 1}, /* not where 6.1 has them */
        {"___GFP_IO_BIT", 6},
        {"___GFP_FS_BIT", 7},
        {"___GFP_DIRECT_RECLAIM_BIT", 10},
        {"___GFP_KSWAPD_RECLAIM_BIT", 11},
        {"___GFP_ACCOUNT_BIT", 22},
        {"___GFP_NO_OBJ_EXT_BIT", 24},
        {"___GFP_OF_TOMORROW_BIT", 25},
        {"___GFP_LAST_BIT", 26},
};

static void load(const struct told *told, size_t n, struct gfp_bits *ret) {
        char *path = write_btf(told, n);

        gfp_bits_load(path, ret);
        unlink(path);
        free(path);
}

static void check(const struct gfp_bits *bits, uint32_t flags, const char *wanted) {
        struct gfp_set set = gfp_translate(bits, flags), again = {};
        char line[512] = "";
        struct gfp_names names;

        gfp_names(&set, &names);
        for (size_t i = 0; i < names.n; i++) {
                if (i > 0)
                        strcat(line, " ");
                strcat(line, names.names[i]);
                assert_int_equal(gfp_parse(names.names[i], &again), 0);
        }
        assert_string_equal(line, wanted);
        assert_int_equal(again.unknown, set.unknown);
        /* the names of a set stand for the set, but for a flag that newer kernels do not have */
        assert_int_equal(again.flags | 1u << GFP_FLAG_ATOMIC, set.flags | 1u << GFP_FLAG_ATOMIC);
}

static void test_told(void **state) {
        struct gfp_bits bits;

        load(kernel, ELEMENTS(kernel), &bits);
        check(&bits, 0, "");
        check(&bits, 0xcc0, "GFP_KERNEL");
        check(&bits, 0x400cc2, "GFP_KERNEL __GFP_ZERO __GFP_ACCOUNT");
        check(&bits, 0x1000c00, "GFP_NOIO __GFP_NO_OBJ_EXT");
        check(&bits, 0x2000c41, "GFP_NOFS __GFP_DMA 0x2000000");
        check(&bits, 1u << 31 | 1u << 25, "0x82000000");
}

static void test_6_1(void **state) {
        struct gfp_bits bits, without;

        gfp_bits_load("/nonexistent", &bits);
        load(kernel, 2, &without); /* type information without the flags: as before 6.9 */
        assert_memory_equal(&bits, &without, sizeof(bits));
        check(&bits, 0xcc0, "GFP_KERNEL");
        check(&bits, 0xdc0, "GFP_KERNEL __GFP_ZERO");
        check(&bits, 0x400cc0, "GFP_KERNEL __GFP_ACCOUNT");
        check(&bits, 0xa20, "GFP_ATOMIC");
        check(&bits, 0x820, "GFP_ATOMIC");
        check(&bits, 0x800, "GFP_NOWAIT");
        check(&bits, 0x2800, "GFP_NOWAIT __GFP_NOWARN");
        check(&bits, 0xc40, "GFP_NOFS");
        check(&bits, 0xc00, "GFP_NOIO");
        check(&bits, 0x100cc0, "GFP_USER");
        check(&bits, 0x100cca, "GFP_HIGHUSER_MOVABLE");
        check(&bits, 0x140cca, "GFP_HIGHUSER_MOVABLE __GFP_COMP");
        check(&bits, 0x1000000, "0x1000000");
}

static void test_parse(void **state) {
        struct gfp_set set = {};

        assert_int_equal(gfp_parse("GFP_OF_NOBODY", &set), -EINVAL);
        assert_int_equal(gfp_parse("", &set), -EINVAL);
        assert_int_equal(gfp_parse("0xzz", &set), -EINVAL);
        assert_true(gfp_empty(&set));
}

/* The kernel that this runs on names its own, or is of before 6.9. */
static void test_running(void **state) {
        check(gfp_bits_running(), 0xcc0, "GFP_KERNEL");
}

static void test_enumerators(void **state) {
        char *path = write_btf(kernel, ELEMENTS(kernel));
        struct ktypes *types;
        int64_t value = 5;
        uint32_t id;

        assert_int_equal(ktypes_load(path, &types), 0);
        id = ktypes_enum_of(types, "___GFP_IO_BIT");
        assert_int_equal(id, 2);
        assert_int_equal(ktypes_enumerator(types, id, "___GFP_ACCOUNT_BIT", &value), 0);
        assert_int_equal(value, 22);
        assert_int_equal(ktypes_enumerator(types, id, "___GFP_WRITE_BIT", &value), -ENOENT);
        assert_int_equal(ktypes_enumerator(types, 0, "___GFP_IO_BIT", &value), -ENOENT);
        assert_int_equal(ktypes_enumerator(types, 99, "___GFP_IO_BIT", &value), -ENOENT);
        assert_int_equal(value, 22);
        assert_int_equal(ktypes_enum_of(types, "nowhere"), 0);
        ktypes_free(types);
        unlink(path);
        free(path);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_told),
                cmocka_unit_test(test_6_1),
                cmocka_unit_test(test_parse),
                cmocka_unit_test(test_running),
                cmocka_unit_test(test_enumerators),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
