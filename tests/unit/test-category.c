/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Categories: the tables are whole, paths and names agree, and no bytes from outside do harm. */
#include "unit.h"

#include "category-names.h"
#include "category.h"

static void check(const char *file, const char *function, const char *module, const char *wanted) {
        char got[CATEGORY_MAX];

        category_of(file, function, module, got);
        if (!streq(got, wanted))
                fail_msg("%s, %s, %s is %s, not %s", file ?: "-", function ?: "-", module ?: "-", got, wanted);
}

static void test_paths(void **state) {
        static const struct {
                const char *path, *category;
        } cases[] = {
                {"fs/ext4/super.c", "fs/ext4"},
                {"fs/dcache.c", "fs"},
                {"fs/pipe.c", "fs/pipe"},
                {"fs/smb/client/connect.c", "fs/smb"},
                {"mm/memory.c", "mm"},
                {"mm/shmem.c", "fs/tmpfs"},
                {"mm/slub.c", "slab"},
                {"mm/slab_common.c", "slab"},
                {"net/socket.c", "net"},
                {"net/core/skbuff.c", "net"},
                {"net/ipv4/tcp.c", "net/ipv4"},
                {"net/unix/af_unix.c", "net/unix"},
                {"drivers/net/ethernet/intel/e1000/e1000_main.c", "drivers/net"},
                {"drivers/block/loop.c", "drivers/block"},
                {"block/bio.c", "block"},
                {"kernel/fork.c", "kernel"},
                {"kernel/bpf/syscall.c", "bpf"},
                {"kernel/trace/bpf_trace.c", "bpf"},
                {"kernel/trace/trace.c", "kernel"},
                {"init/main.c", "kernel"},
                {"io_uring/io_uring.c", "io_uring"},
                {"ipc/shm.c", "ipc"},
                {"security/selinux/hooks.c", "security"},
                {"crypto/api.c", "crypto"},
                {"certs/blacklist.c", "crypto"},
                {"lib/crypto/mpi/mpiutil.c", "crypto"},
                {"lib/idr.c", "lib"},
                {"sound/core/init.c", "sound"},
                {"virt/kvm/kvm_main.c", "virt/kvm"},
                {"arch/x86/kernel/fpu/core.c", "arch"},
                {"arch/x86/kvm/x86.c", "virt/kvm"},
                {"arch/arm64/mm/mmu.c", "mm"},
                {"arch/x86/net/bpf_jit_comp.c", "bpf"},
                {"../mm/memory.c", "mm"},
                {"./../fs/ext4/super.c", "fs/ext4"},
                {"/usr/src/zfs/fs/ext4/super.c", "other"},
                {"/mm/memory.c", "other"},
                {"fs", "other"},
                {"fs/", "fs"},
                {"arch/", "arch"},
                {"drivers/foo.c", "drivers"},
                {"", "other"},
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++)
                check(cases[i].path, NULL, "", cases[i].category);
}

/* A header says where a function is, and its caller is somebody else. */
static void test_headers(void **state) {
        check("./include/linux/slab.h", "unix_create1", "", "net/unix");
        check("./include/linux/slab.h", "something", "ext4", "fs/ext4");
        check("./include/linux/slab.h", "something", "", "slab");
        check("include/net/sock.h", "something", NULL, "net");
        check("./arch/x86/include/asm/pgalloc.h", "something", "", "mm");
        check("include/linux/nobody.h", NULL, "", "other");
}

static void test_modules(void **state) {
        check(NULL, "ext4_alloc_inode", "ext4", "fs/ext4");
        check(NULL, "anything", "overlay", "fs/overlayfs");
        check(NULL, "anything", "nf_tables", "net/netfilter");
        check(NULL, "anything", "nvme_core", "drivers/nvme");
        check(NULL, "anything", "kvm", "virt/kvm");
        check(NULL, "bpf_prog_6deef7357e7b4530_f", "bpf", "bpf");
        /* a name that only begins like one of the kernel's is somebody else's */
        check(NULL, "ext4_alloc_inode", "ext4evil", "module:ext4evil");
        check(NULL, "kmalloc", "zfs", "module:zfs");
        check("/usr/src/zfs/fs/zfs.c", "zfs_open", "zfs", "module:zfs");
        check("drivers/net/veth.c", "veth_newlink", "veth", "drivers/net");
}

static void test_functions(void **state) {
        static const struct {
                const char *function, *category;
        } cases[] = {
                {"ext4_alloc_inode", "fs/ext4"},
                {"__ext4_new_inode.isra.0", "fs/ext4"},
                {"shmem_alloc_inode", "fs/tmpfs"},
                {"alloc_inode", "fs"},
                {"__d_alloc", "fs"},
                {"sk_prot_alloc", "net"},
                {"sock_alloc_inode", "net"},
                {"unix_create1", "net/unix"},
                {"tcp_sendmsg_locked", "net/ipv4"},
                {"tcp_v6_syn_recv_sock", "net/ipv6"},
                {"pte_alloc_one", "mm"},
                {"__pte_alloc", "mm"},
                {"alloc_pipe_info", "fs/pipe"},
                {"alloc_slab_obj_exts", "slab"},
                {"copy_process", "kernel"},
                {"alloc_thread_stack_node", "kernel"},
                {"security_inode_alloc", "security"},
                {"__x64_sys_epoll_create1", "fs"},
                {"__do_sys_mq_open", "ipc"},
                {"__ia32_compat_sys_io_submit", "fs"},
                {"io_ring_ctx_alloc", "io_uring"},
                {"bpf_map_alloc", "bpf"},
                {"zzz", "other"},
                {"___", "other"},
                {"", "other"},
                {NULL, "other"},
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++)
                check(NULL, cases[i].function, "", cases[i].category);
}

/* Each word of a table stands there once and gives its own category, whatever words are longer or shorter. */
static void each_word(const struct category_words *table, size_t n, void (*f)(const char *word, const char *category)) {
        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *copy = strdup(table[i].words);
                char *save = NULL;

                assert_true(strlen(table[i].category) < CATEGORY_MAX);
                for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
                        f(word, table[i].category);
        }
}

static void check_function(const char *word, const char *category) {
        _cleanup_free_ char *longer = format("__%s\x7f", word);

        check(NULL, word, "", category);
        check(NULL, longer, NULL, category);
}

static void check_module(const char *word, const char *category) {
        check(NULL, NULL, word, category);
}

static bool ends_dir(const char *word) {
        return word[strlen(word) - 1] == '/';
}

static void check_path(const char *word, const char *category) {
        _cleanup_free_ char *path = format("%s%s%s", word[0] == '/' ? "arch/x86" : "", word, ends_dir(word) ? "some.c" : "");
        size_t n = strlen(category);
        char plain[CATEGORY_MAX];

        snprintf(plain, sizeof(plain), "%.*s", (int)(category[n - 1] == '/' ? n - 1 : n), category);
        check(path, NULL, "", plain);
}

static void test_tables(void **state) {
        each_word(category_functions, category_functions_n, check_function);
        each_word(category_modules, category_modules_n, check_module);
        each_word(category_paths, category_paths_n, check_path);
}

static void test_bounds(void **state) {
        _cleanup_free_ char *huge = malloc(100001);
        char got[CATEGORY_MAX];

        memset(huge, 'a', 100000);
        huge[100000] = '\0';
        category_of(huge, huge, huge, got);
        assert_int_equal(strlen(got), CATEGORY_MAX - 1);
        assert_true(startswith(got, "module:aaaa"));
        memcpy(huge, "fs/", 3);
        huge[99999] = '/';
        category_of(huge, NULL, "", got);
        assert_int_equal(strlen(got), CATEGORY_MAX - 1);
        category_of(NULL, "\xff\xfe\n", "", got);
        assert_string_equal(got, "other");
        category_of(NULL, NULL, "\xff\x1b[31m", got);
        assert_string_equal(got, "module:\xff\x1b[31m"); /* documents escape it, as they do the module itself */
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_paths),
                cmocka_unit_test(test_headers),
                cmocka_unit_test(test_modules),
                cmocka_unit_test(test_functions),
                cmocka_unit_test(test_tables),
                cmocka_unit_test(test_bounds),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
