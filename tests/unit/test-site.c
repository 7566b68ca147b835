/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which frame names a site, on a symbol table of our own. */
#include "unit.h"

#include "kallsyms.h"
#include "site.h"

/* Every function is 0x100 long. */
static const char kallsyms[] = "ffffffff81000000 T _stext\n"
                               "ffffffff81000100 T __alloc_frozen_pages_noprof\n"
                               "ffffffff81000200 T alloc_pages_mpol\n"
                               "ffffffff81000300 t allocate_slab\n"
                               "ffffffff81000400 T kmem_cache_alloc_noprof\n"
                               "ffffffff81000500 T pte_alloc_one\n"
                               "ffffffff81000600 T __pte_alloc\n"
                               "ffffffff81000700 t kmalloc_array_noprof.constprop.0\n"
                               "ffffffff81000800 T alloc_pages_of_ours\n"
                               "ffffffff81000900 t vm_area_alloc_pages\n"
                               "ffffffff81000a00 T __vmalloc_node_range_noprof\n"
                               "ffffffff81000b00 t __alloc_pages_bulk\n"
                               "ffffffff81000c00 t ___kmalloc_large_node\n"
                               "ffffffff81000d00 T bpf_map_area_alloc\n"
                               "ffffffff81000e00 T _etext\n"
                               "ffffffffc0000000 t made_here\t[some_module]\n"
                               "ffffffffc0000100 t made_there\t[some_module]\n";

static int load(void **state) {
        return load_symbols(kallsyms, state);
}

static void test_wrappers(void **state) {
        assert_true(site_is_wrapper("__alloc_frozen_pages_noprof"));
        assert_true(site_is_wrapper("__kvmalloc_node"));
        assert_true(site_is_wrapper("kmalloc_array_noprof.constprop.0"));
        assert_true(site_is_wrapper("kstrndup.cold"));
        assert_false(site_is_wrapper("alloc_pages_of_ours"));
        assert_false(site_is_wrapper("pte_alloc_one"));
        assert_false(site_is_wrapper(""));
}

/* Without a memory, and twice with one: the answer is the same. */
static struct site resolve(void **state, const uint64_t *frames, unsigned n) {
        static struct site_memory memory;
        struct site plain, remembered;

        site_resolve(*state, NULL, frames, n, &plain);
        for (int i = 0; i < 2; i++) {
                site_resolve(*state, &memory, frames, n, &remembered);
                assert_ptr_equal(remembered.symbol.name, plain.symbol.name);
                assert_int_equal(remembered.symbol.offset, plain.symbol.offset);
                assert_int_equal(remembered.slab_backing, plain.slab_backing);
                assert_int_equal(remembered.vmalloc, plain.vmalloc);
        }
        return plain;
}

static void check(void **state, const uint64_t *frames, unsigned n, const char *name, uint32_t offset, bool slab) {
        const struct site site = resolve(state, frames, n);

        if (name)
                assert_string_equal(site.symbol.name, name);
        else
                assert_null(site.symbol.name);
        if (name)
                assert_int_equal(site.symbol.offset, offset);
        assert_int_equal(site.slab_backing, slab);
}

static void test_resolve(void **state) {
        const uint64_t pages[] = {0xffffffff81000110, 0xffffffff81000220, 0xffffffff81000510, 0xffffffff81000610};
        const uint64_t slab[] = {0xffffffff81000110, 0xffffffff81000330, 0xffffffff81000440, 0xffffffff81000610};
        const uint64_t only_wrappers[] = {0xffffffff81000110, 0xffffffff81000220};
        const uint64_t at_the_end[] = {0xffffffff81000600}; /* the call was pte_alloc_one's last instruction */
        const uint64_t module[] = {0xffffffff81000710, 0xffffffffc0000010};
        const uint64_t unknown[] = {0x1000, 0xffffffff81000510};
        const uint64_t zero[] = {0};

        check(state, pages, 4, "pte_alloc_one", 0x10, false);
        check(state, slab, 4, "allocate_slab", 0x30, true); /* its rows are left out, whatever the name */
        check(state, only_wrappers, 2, "alloc_pages_mpol", 0x20, false);
        check(state, at_the_end, 1, "pte_alloc_one", 0x100, false);
        check(state, module, 2, "made_here", 0x10, false);
        check(state, unknown, 2, NULL, 0, false);
        check(state, zero, 1, NULL, 0, false);
        check(state, NULL, 0, NULL, 0, false);
}

static bool is_vmalloc(void **state, const uint64_t *frames, unsigned n) {
        return resolve(state, frames, n).vmalloc;
}

/* Pages that vmalloc maps, and not what else is allocated on its way. */
static void test_vmalloc(void **state) {
        const uint64_t pages[] = {
                0xffffffff81000110, 0xffffffff81000210, 0xffffffff81000910, 0xffffffff81000a10, 0xffffffff81000d10};
        const uint64_t bulk[] = {0xffffffff81000b10, 0xffffffff81000a10, 0xffffffff81000d10};
        const uint64_t table[] = {0xffffffff81000110, 0xffffffff81000510, 0xffffffff81000a10, 0xffffffff81000d10};
        const uint64_t list[] = {0xffffffff81000110, 0xffffffff81000c10, 0xffffffff81000a10, 0xffffffff81000d10};
        const uint64_t plain[] = {0xffffffff81000110, 0xffffffff81000d10};

        assert_true(is_vmalloc(state, pages, 5));
        assert_true(is_vmalloc(state, bulk, 3));
        assert_false(is_vmalloc(state, table, 4)); /* page tables for the mapping */
        assert_false(is_vmalloc(state, list, 4));  /* the list of its pages */
        assert_false(is_vmalloc(state, plain, 2));
        check(state, pages, 5, "bpf_map_area_alloc", 0x10, false);
}

static void test_no_symbols(void **state) {
        const uint64_t frames[] = {0xffffffff81000510};
        struct site site;

        site_resolve(NULL, NULL, frames, 1, &site);
        assert_null(site.symbol.name);
}

static void check_key(char *key, const char *wanted) {
        assert_string_equal(key, wanted);
        free(key);
}

static void test_key(void **state) {
        check_key(site_key("pte_alloc_one", 0x1f, ""), "pte_alloc_one+0x1f");
        check_key(site_key("made_here", 0, "some_module"), "made_here+0x0[some_module]");
        check_key(site_key(NULL, 0, ""), "unknown");
        check_key(site_tag_key("fs/pipe.c", 789, "alloc_pipe_info", ""), "fs/pipe.c:789:alloc_pipe_info");
        check_key(site_tag_key("made/here.c", 0, "made_here", "some_module"), "made/here.c:0:made_here[some_module]");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_wrappers),
                cmocka_unit_test(test_resolve),
                cmocka_unit_test(test_vmalloc),
                cmocka_unit_test(test_no_symbols),
                cmocka_unit_test(test_key),
        };

        return cmocka_run_group_tests(tests, load, unload_symbols);
}
