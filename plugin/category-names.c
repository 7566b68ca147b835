/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What belongs where, written by category. Functions are those of 6.1 to 7.3. Of the 45854 functions of a 6.18 kernel whose
 * name stands at one place of the source, 72 % get its category, 1 % that of a neighbour (net for net/ipv4), 3.5 % another one
 * and the rest none; few of those allocate (tests/container/categories.py has the bytes). Words of what is commonly a module
 * are for kernels that have it built in.
 */
#include "category-names.h"

const struct category_words category_paths[] = {
        {"arch", "arch/"},
        {"block", "block/ include/linux/bio include/linux/blk"},
        {"bpf", "kernel/bpf/ kernel/trace/bpf_trace.c /net/ include/linux/bpf"},
        {"crypto", "certs/ crypto/ include/crypto/ lib/crypto/ /crypto/"},
        {"drivers/", "drivers/"},
        {"drivers/gpu", "include/drm/"},
        {"fs", "include/linux/fs"},
        {"fs/", "fs/"},
        {"fs/pipe", "fs/pipe.c"},
        {"fs/tmpfs", "mm/shmem.c"},
        {"io_uring", "io_uring/"},
        {"ipc", "ipc/"},
        {"kernel", "init/ kernel/ usr/"},
        {"lib", "lib/ rust/"},
        {"mm", "include/asm-generic/pgalloc.h include/linux/mm include/linux/percpu mm/ /mm/ /include/asm/pgalloc.h"},
        {"net", "include/linux/netdevice.h include/linux/skbuff.h include/net/ net/core/"},
        {"net/", "net/"},
        {"security", "security/"},
        {"slab", "include/linux/slab.h mm/slab mm/slub"},
        {"sound", "include/sound/ sound/"},
        {"virt/kvm", "include/linux/kvm virt/ /kvm/"},
};
const size_t category_paths_n = ELEMENTS(category_paths);

const struct category_words category_functions[] = {
        {"arch", "acpi_map acpi_parse acpi_processor_ffh alloc_ldt_struct amd_ apic_ arch_ bts_ cpu_detect cpu_init "
                 "cpuid_ cr4_ e820_ fpstate_ fpu_ hpet_ hswep_ ia32_ icx_ idt_ insn_ intel_ ioapic_ irq_remap ivbep_ "
                 "kvm_alloc_cpumask kvm_guest kvm_save_sched kvm_send kvmclock_ lapic_ ldt_ load_ucode machine_ mce_ "
                 "microcode_ mp_ msr_ mtrr_ native_ nhmex_ pat_ perf_arch perf_ibs pirq_ pvclock_ rapl_ rdmsr skx_ "
                 "smn_ snb_ snbep_ spr_ sys_ia32 text_poke topology_ tsc_ uncore_ vdso_ write_ldt x86_ xen_ xfeature "
                 "xstate_"},
        {"block", "add_disk alloc_disk alloc_io_context badblocks_ bdev_ bfq bio_ blk_ blkcg_ blkdev_ blkg_ bsg_ bvec_ "
                  "copy_io_context create_task_io_context dd_ deadline_ device_add_disk disk_ elevator_ elv_ hctx_ ioc_ "
                  "iocg_ iolatency_ kyber_ part_ punt_bios queue_ rq_qos submit_bio sys_ioprio throtl_ wbt_"},
        {"bpf", "add_subprog alloc_bulk arch_alloc_bpf arch_bpf arch_prepare_bpf arena_ array_map_ array_of_map "
                "bloom_map_ bpf_ bpffs_ bstorage_ btf_ cgroup_bpf_ cgroup_dev cgroup_iter cgroup_storage_ "
                "check_mem_access copy_verifier_state cpu_map_ dev_map_ dmabuf_iter do_check fd_array_map htab_ "
                "inode_storage lookup_nulls map_create map_delete map_get map_lookup map_seq map_update mark_reg "
                "pcpu_copy pcpu_freelist prog_array prog_fd_array push_insn push_stack queue_stack_map range_tree_ "
                "raw_tp reg_bounds_ ringbuf_ stack_map_ stackmap_ sys_bpf task_file_seq task_iter task_seq "
                "task_storage_ task_vma tcx_ tnum_ trie_"},
        {"crypto", "acomp_ aead_ af_alg_ ahash_ akcipher_ alg_ algif_ asymmetric_ cbcmac_ cmac_ cryptd_ crypto_ ctr_ "
                   "drbg_ ecc_ ecdh_ gcm_ hmac_ jent_ kpp_ mpi_ mpihelp_ pkcs1 pkcs7_ public_key_ rsa_ scatterwalk_ "
                   "sha1_ sha256_ sha512_ shash_ skcipher_ x509_"},
        {"drivers/acpi", "acpi_"},
        {"drivers/ata", "ahci_ ata_ sata_"},
        {"drivers/base", "alloc_lookup_fw attribute_container bus_ class_ component_ dev_attr dev_pm_ dev_printk dev_uevent "
                         "dev_vprintk dev_warn devcd_ device_ devm_k devres_ devtmpfs_ dpm_ driver_ faux_ firmware_ fw_ "
                         "fwnode_ get_device_parent memory_block memory_group node_add node_init node_read node_register "
                         "platform_ pm_runtime_ regmap_ request_firmware software_node transport_"},
        {"drivers/block", "brd_ lo_ loop_ nbd_ null_ rbd_ ublk_ virtblk_ zcomp_ zram_"},
        {"drivers/char", "add_hwgenerator chrdev_ hwrng_ misc_ port_fops random_ rng_ tpm_"},
        {"drivers/clk", "clk_"},
        {"drivers/connector", "cn_ proc_exit proc_fork"},
        {"drivers/cpufreq", "amd_pstate cpufreq_ intel_pstate"},
        {"drivers/cpuidle", "cpuidle_ haltpoll_"},
        {"drivers/dax", "alloc_dax alloc_dev_dax dax_bus dax_region"},
        {"drivers/dma", "dma_async_ dma_chan dma_find dma_sync_wait dmaengine_ dw_dma hsu_dma vchan_"},
        {"drivers/dma-buf", "dma_buf_ dma_fence_ dma_heap_ dma_resv_ sync_file_"},
        {"drivers/gpu", "amdgpu_ drm_ i915_ nouveau_ radeon_ ttm_"},
        {"drivers/hid", "hid_ hidinput_ hidraw_ uhid_"},
        {"drivers/i2c", "i2c_"},
        {"drivers/idle", "intel_idle"},
        {"drivers/input", "atkbd_ evdev_ input_ mousedev_ psmouse_ serio_ uinput_"},
        {"drivers/iommu", "amd_iommu dma_iova dmar_ intel_iommu iommu_ iova_ qi_"},
        {"drivers/md", "dm_ md_ mddev_ raid10_ raid1_ raid5_"},
        {"drivers/misc", "mei_"},
        {"drivers/mmc", "mmc_ sdhci_"},
        {"drivers/net", "bond_ e1000 geneve_ ifb_ ixgbe_ loopback_ macvlan_ macvtap_ mdio_ mlx4_ mlx5_ net_failover netvsc_ "
                        "phy_ ppp_ tap_ tun_ veth_ virtnet_ vrf_ vxlan_ wg_"},
        {"drivers/nvdimm", "nd_ nvdimm_ pmem_ virtio_pmem"},
        {"drivers/nvme", "nvme_ nvmet_"},
        {"drivers/pci", "pci_ pcibios_ pcie_ pcim_"},
        {"drivers/pnp", "pnp_"},
        {"drivers/power", "power_supply_"},
        {"drivers/ptp", "ptp_"},
        {"drivers/rtc", "rtc_"},
        {"drivers/scsi", "iscsi_ scsi_ sd_ virtscsi_"},
        {"drivers/thermal", "intel_init_thermal intel_tcc pkg_thermal thermal_"},
        {"drivers/tty", "alloc_tty con_ devpts_pty hvc_ ldsem_ n_tty_ pci_netmos pci_siig pciserial_ ptmx_ pty_ serdev_ "
                        "serial8250_ serial_ tty_ ttyport_ uart_ unix98_pty vc_ vcs_ vt_"},
        {"drivers/usb", "ehci_ hub_ uhci_ usb_ xhci_"},
        {"drivers/vfio", "vfio_"},
        {"drivers/vhost", "vhost_"},
        {"drivers/virtio", "virtballoon_ virtio_ virtqueue_ vm_find_vqs vm_notify vp_ vring_"},
        {"drivers/watchdog", "watchdog_dev watchdog_open watchdog_register watchdog_release"},
        {"drivers/xen", "evtchn_ gnttab_ xenbus_"},
        {"fs", "aio_ alloc_anon_inode alloc_bprm alloc_buffer_head alloc_empty_backing alloc_empty_file "
               "alloc_eventpoll alloc_fdtable alloc_file alloc_fs_context alloc_inode alloc_mnt_ns alloc_super "
               "alloc_vfsmnt anon_inode attach_recursive_mnt backing_file bad_inode bh_ block_ bm_ bprm_ buffer_ "
               "cdev_ clone_mnt clone_private copy_fd_bitmaps copy_files copy_fs_struct copy_mnt_ns copy_mount "
               "core_sys_select create_buffers create_empty_buffers d_ dax_ dcache_ dentry_ do_epoll do_eventfd "
               "do_execve do_fcntl do_file_open_root do_loopback do_mount do_mpage do_new_mount do_open do_pipe "
               "do_select do_signalfd do_tee do_timerfd do_umount dup_fd elf_ empty_dir ep_ epi_ epoll_ eventfd_ "
               "eventpoll_ evict exec_ expand_fd expand_files f_setown fasync_ fcntl_ fd_install fget_ file_ "
               "filename_ files_ find_inode flock_ fput free_fdtable fs_ fscontext_ generic_file generic_read_dir "
               "get_epoll_ get_filesystem get_mountpoint getname iget5_ iget_ init_fs inode_ io_submit ioctl_ ioctx_ "
               "iter_file kern_mount kern_path kernel_read kiocb_ ksys_ lease_ load_elf load_script locks_ lookup_ "
               "mb_cache mnt_ mntns_ mount_ mpage_ new_inode ns_get_path nsfs_ path_ pidfs_ poll_ posix_acl_ "
               "posix_lock prepare_bprm prepend_path proc_ns propagate_mnt read_cache sb_ select_estimate seq_ "
               "set_posix_acl setattr_ setxattr sget signalfd_ simple_ single_open splice_ super_ sys_epoll "
               "sys_eventfd sys_fsopen sys_getcwd sys_inotify_ sys_io_ sys_mount sys_open sys_poll sys_signalfd "
               "sys_timerfd timerfd_ umount_ user_get_super user_path vfs_ wb_queue wb_start wb_workfn wb_writeback "
               "wbc_ writeback_ xattr_"},
        {"fs/9p", "v9fs_"},
        {"fs/afs", "afs_"},
        {"fs/autofs", "autofs_"},
        {"fs/btrfs", "alloc_dummy_extent alloc_extent_buffer alloc_extent_state alloc_root attach_extent_buffer btrfs_ "
                     "end_bbio extent_ file_extent lookup_inline lookup_tree push_leaf raid56_ tree_mod"},
        {"fs/ceph", "ceph_"},
        {"fs/configfs", "configfs_"},
        {"fs/cramfs", "cramfs_"},
        {"fs/crypto", "fscrypt_"},
        {"fs/debugfs", "debugfs_"},
        {"fs/devpts", "devpts_"},
        {"fs/efivarfs", "efivarfs_"},
        {"fs/erofs", "erofs_ z_erofs_"},
        {"fs/exfat", "exfat_"},
        {"fs/ext2", "ext2_"},
        {"fs/ext4", "add_system_zone es_ ext4_"},
        {"fs/f2fs", "f2fs_"},
        {"fs/fat", "fat_ msdos_ vfat_"},
        {"fs/fuse", "cuse_ fuse_ virtio_fs_"},
        {"fs/gfs2", "gfs2_"},
        {"fs/hugetlbfs", "hugetlbfs_"},
        {"fs/iomap", "iomap_"},
        {"fs/isofs", "isofs_"},
        {"fs/jbd2", "jbd2_ journal_ start_this_handle"},
        {"fs/kernfs", "kernfs_"},
        {"fs/lockd", "nlm_ nlmclnt_ nlmsvc_"},
        {"fs/netfs", "cachefiles_ fscache_ netfs_"},
        {"fs/nfs", "nfs3_ nfs4_ nfs_"},
        {"fs/nfsd", "nfsd4_ nfsd_"},
        {"fs/notify", "fanotify_ fsnotify_ inotify_"},
        {"fs/ntfs3", "ntfs_"},
        {"fs/ocfs2", "ocfs2_"},
        {"fs/overlayfs", "ovl_"},
        {"fs/pipe", "account_pipe alloc_pipe anon_pipe create_pipe do_pipe2 fifo_open generic_pipe_buf get_pipe_inode "
                    "pipe_ pipefs_ proc_dopipe round_pipe"},
        {"fs/proc", "children_seq comm_open do_proc environ_ int_seq map_files mem_open mem_read mem_write pagemap_ "
                    "pid_maps pid_smaps proc_ register_sysctl sched_autogroup smaps_ sysctl_ task_dumpable task_mem tgid_ "
                    "tid_"},
        {"fs/pstore", "pstore_"},
        {"fs/quota", "dquot_ quota_"},
        {"fs/ramfs", "ramfs_"},
        {"fs/resctrl", "rdtgroup_ resctrl_"},
        {"fs/smb", "cifs_ ksmbd_ smb2_ smb_"},
        {"fs/squashfs", "squashfs_"},
        {"fs/sysfs", "sysfs_"},
        {"fs/tmpfs", "shmem_ sys_memfd_create"},
        {"fs/tracefs", "eventfs_ tracefs_"},
        {"fs/ubifs", "ubifs_"},
        {"fs/udf", "udf_"},
        {"fs/verity", "fsverity_"},
        {"fs/xfs", "xfs_"},
        {"fs/zonefs", "zonefs_"},
        {"io_uring", "io_ sys_io_uring"},
        {"ipc", "alloc_msg compat_ksys copy_ipcs copy_semundo create_ipc_ns do_mq_ do_msg do_sem do_shmat "
                "find_alloc_undo ipc_ ksys_msg ksys_sem ksys_shm load_msg mq_clear mq_init_ns mqueue_ msg_ newary "
                "newque newseg sem_ semctl_ setup_ipc setup_mq shm_ shmctl_ sys_mq sys_msg sys_sem sys_shm sysvipc_"},
        {"kernel", "account_ acct_ add_range alarm_ alloc_and_link_pwqs alloc_cpumask alloc_css_set alloc_ftrace "
                   "alloc_insn alloc_mnt_idmap alloc_perf alloc_pid alloc_resource alloc_task_struct alloc_thread_stack "
                   "alloc_uid alloc_unbound alloc_uts alloc_worker alloc_workqueue allocate_cgrp_cset apply_wqattrs "
                   "arch_uprobe async_ audit_ autogroup_ blk_dropped blk_log blk_trace call_rcu call_usermodehelper "
                   "cgroup1_ cgroup_ cgrp_ clock_ clocksource_ clone_uts_ns collect_signal commit_creds console_ "
                   "copy_cgroup copy_creds copy_namespaces copy_net_ns_ copy_pid_ns copy_process copy_seccomp "
                   "copy_sighand copy_siginfo copy_signal copy_thread copy_time_ns copy_utsname cpu_ cpuacct_ cpuhp_ "
                   "cpuset_ crash_ create_new_namespaces create_nsproxy create_pid_namespace create_user_ns "
                   "create_worker cred_ css_ debug_mutex delayacct_ devkmsg_ dl_ dma_ do_fork do_futex do_sigaction "
                   "do_timer_create dup_cred dup_task_struct dyn_event dynevent_ event_ exit_ expand_sem find_css_set "
                   "find_ge_pid find_get_context find_get_pid find_get_pmu flush_signal force_sig fork_ freezer_ ftrace_ "
                   "futex_ get_pid_task group_ groups_alloc hrtimer_ hw_breakpoint inherit_event init_dl init_rescuer "
                   "irq_ jump_label kallsyms_ kauditd_ kcov_ kernel_clone kexec_ klp_ kmsg_ kprobe_ kthread_ ktime_ "
                   "link_css_set livepatch load_module migrate_disable migrate_swap mm_access mm_alloc mm_cache mm_init "
                   "mm_update mod_sysfs module_ msi_ mutex_ ns_ nsproxy_ padata_ param_ percpu_free_rwsem "
                   "percpu_init_rwsem perf_ pid_ pidfd_ pids_ posix_ posixtimer_ prb_ prctl_ prepare_creds "
                   "prepare_kernel_cred printk_ proc_do psi_ ptrace_ raw_notifier raw_read raw_spin raw_write rb_alloc "
                   "rcu_ register_kprobe register_pidns relay_ request_resource request_threaded resource_ ring_buffer_ "
                   "rt_mutex rwsem_ sched_ schedule_ seccomp_ send_sig setup_irq setup_userns signal_ sigqueue_ smp_call "
                   "smpboot_ srcu_ static_call static_key stop_machine subprocess swiotlb_ switch_task_ns synchronize_ "
                   "synth_ sys_clone sys_fork sys_futex sys_rt_sig sys_sched sys_setgroups sys_setns sys_timer "
                   "sys_unshare sys_vfork task_ taskstats_ tick_ timekeeping_ timens_ timer_ trace_ tracepoint_ "
                   "traceprobe_ tracing_ umh_ unshare_ unwind_deferred uprobe_ user_event user_ns userns_ uts_ vtime_ "
                   "wait_ wake_ wakeup_ watch_queue watchdog_ work_ workqueue_ wq_ xol_"},
        {"lib", "FSE_ HIST_ HUF_ ZSTD_ alloc_bucket argv_split assoc_array base64_ bitmap_ btree_ bucket_ cpu_rmap "
                "ddebug_ devm_ioremap dql_ dynamic_debug find_first fprop_ gen_pool genradix_ ida_ idr_ import_iovec "
                "iov_ iovec_ irq_cpu_rmap irq_poll kasprintf kfifo_ klist_ kobj_ kobject_ kset_ kstrdup kvasprintf "
                "kvfree lockref_ lz4_compress lzo1x mas_ match_ mt_ mtree_ net_dim nla_ objpool_ once_ percpu_counter "
                "percpu_ref radix_tree raid6_ refcount_ rhashtable rhltable_ sbitmap_ seq_buf sg_alloc sg_pool sgl_ "
                "siphash_ stack_depot strdup string_ strndup textsearch_ uevent_ vbin xa_ xas_ xz_ zlib_ zstd_"},
        {"mm", "access_remote_vm add_to_page add_to_swap add_vmap alloc_anon_folio alloc_anon_vma alloc_charge_folio "
               "alloc_contig alloc_demote alloc_hugetlb alloc_mem_cgroup alloc_migrate alloc_new_pud alloc_p4d "
               "alloc_pages alloc_pgd alloc_pmd alloc_pte alloc_ptlock alloc_pud alloc_set_pte alloc_surplus "
               "alloc_swap alloc_vm_area alloc_vm_stack alloc_vma allocate_vma anon_vma arch_io arch_report_meminfo "
               "balloon_ bdi_ buffer_migrate can_do_mlock can_vma cgwb_ clear_page cma_ compaction_ consume_obj "
               "copy_hugetlb copy_mm copy_nonpresent copy_page_range copy_present copy_pte_range copy_user_page "
               "copy_vma create_vm_struct damon_ damos_ dma_pool_ do_anonymous_page do_brk do_cow do_fault "
               "do_huge_pmd do_madvise do_mbind do_mlock do_mmap do_mprotect do_munmap do_numa do_pte_missing "
               "do_read_fault do_set_mempolicy do_shared_fault do_swap do_wp_page dup_mm dup_userfaultfd early_pte "
               "execmem_ expand_downwards expand_stack fault_dirty fault_in faultin_ filemap_ find_mergeable "
               "find_vma flush_tlb folio_ follow_page free_pages get_page get_user_pages get_vm_area get_vma guard_ "
               "gup_ handle_mm handle_pte_fault hmm_ huge_ hugepage_ hugetlb_ inode_to_bdi insert_page insert_pfn "
               "insert_vmap_area install_special ioremap isolate_ kasan_ kcompactd kernel_pte kfence_ khugepaged_ "
               "kmemleak_ ksm_ kswapd ksys_mmap list_lru lru_ madvise_ mem_cgroup mem_pool mem_section memblock_ "
               "memcg1_ memcg_ memdup_ memfd_ memory_ mempolicy_ mempool_ memremap_ mfill_ migrate_ mincore_ mlock_ "
               "mm_ mmap_ mmu_ move_page move_vma mpol_ mprotect_ mremap_ mt_find new_vma node_ numa_ obj_cgroup "
               "objcg oom_ p4d_ page_ pageblock pagecache_ pagetable_ pcpu_ percpu_alloc pfn_ pgd_ pgtable_ pmd_ "
               "pmdp_ populate_ prealloc_shrinker preload_this process_madvise process_vm ptdesc pte_ ptep_ pti_ "
               "ptlock_ pud_ purge_vmap read_pages read_swap reclaim_ refill_obj region_ relocate remap_ "
               "reserve_bootmem rmap_ secretmem_ set_memory set_mempolicy setup_arg_pages setup_vmalloc shrink_ "
               "shrinker_ sparse_ special_mapping split_huge split_vma stable_node swap_ swapfile_ swapin_ sys_brk "
               "sys_mmap sys_mremap sys_swapon thp_ tlb_ truncate_ try_charge unmap_ unuse_ user_mem usercopy_ "
               "userfaultfd_ vfree vm_area vm_brk vm_get vm_insert vm_map vm_mmap vm_munmap vm_normal vm_stat "
               "vm_unmap vma_ vmalloc_ vmap_ vmemdup_ vmemmap_ vmf_ vms_ vmstat_ vrealloc walk_page wb_ wp_page "
               "write_protect zap_ zone_ zs_ zswap_"},
        {"net", "alloc_netdev alloc_skb bpf_convert bpf_fd_sk bpf_flow bpf_get_sk bpf_msg bpf_prog_create "
                "bpf_redirect bpf_sk_storage bpf_skb bpf_skc bpf_sock bpf_tcp_sk bpf_xdp bql_ build_skb carrier_ "
                "compat_sock consume_skb copy_msghdr copy_net_ns datagram_ dev_ do_sock dst_ failover_ "
                "fib_default_rule fib_nl fib_notifier fib_rule flow_ generic_xdp genphy gnet_ gro_ hw_addr iptunnel_ "
                "kernel_sock kmalloc_reserve linkwatch_ list_netdevice lwtunnel_ metadata_dst move_addr napi_ neigh_ "
                "neighbour_ net_ netdev_ netif_ netns_ netpoll_ ops_init page_pool_ peernet pneigh_ proto_ pskb_ "
                "put_cmsg recvmmsg_ register_netdev register_pernet reqsk_ reuseport_ rps_ rtnetlink_ rtnl_ rx_queue "
                "scm_ sendmsg_ setup_net sk_ skb_ sock_ sockfs_ sys_accept sys_bind sys_connect sys_listen sys_recvm "
                "sys_sendm sys_sendto sys_setsockopt sys_socket tso_ unregister_netdev xdp_ xsk_skb"},
        {"net/8021q", "vlan_"},
        {"net/9p", "p9_"},
        {"net/atm", "atm_"},
        {"net/batman-adv", "batadv_"},
        {"net/bluetooth", "hci_ l2cap_ rfcomm_"},
        {"net/bpf", "bpf_ctx bpf_dummy bpf_prog_test bpf_test"},
        {"net/bridge", "br_ brnf_ ebt_ ebtable_ nbp_"},
        {"net/can", "bcm_ can_create can_rx can_send isotp_"},
        {"net/ceph", "ceph_con ceph_msg ceph_osdc"},
        {"net/dcb", "dcb_ dcbnl_"},
        {"net/devlink", "devlink_"},
        {"net/dns_resolver", "dns_"},
        {"net/ethernet", "alloc_etherdev eth_"},
        {"net/ethtool", "cmis_ ethnl_ ethtool_ rss_"},
        {"net/ipv4", "ah4_ arp_ arpt_ bbr_ bictcp_ bpf_tcp cipso_ cookie_v4 cubictcp_ devinet_ esp4_ esp_ fib4_ fib_ "
                     "fqdir_ gre_ icmp_ igmp_ inet_ inetdev_ ip4_ ip_ ipgre_ ipip_ ipmr_ ipt_ iptable_ ipv4_ mr_ nexthop_ "
                     "nh_ ping_ raw_bind raw_close raw_destroy raw_err raw_get raw_hash raw_init raw_local raw_rcv "
                     "raw_send raw_seq raw_v4 rt_ rtm_to rtmsg_fib tcp4_ tcp_ tnode_ udp4_ udp_ udplite_ xfrm4_"},
        {"net/ipv6", "ac6_ aca_ add_addr addrconf_ addrlabel ah6_ calipso_ cmp_nla cookie_v6 esp6_ fib6_ icmpv6_ igmp6_ "
                     "inet6_ input_action ioam6_ ip6_ ip6addrlbl_ ip6mr_ ip6t_ ip6table_ ipv6_ mld_ ndisc_ nft_fib6 "
                     "nft_reject_ipv6 parse_nla put_nla raw6_ rawv6_ rt6_ seg6_ sit_ snmp6_ tcp6_ tcp_v6 tcpv6_ udp6_ "
                     "udp_tunnel6 udp_v6 udpv6_ xfrm6_"},
        {"net/key", "pfkey_"},
        {"net/l2tp", "l2tp_ pppol2tp_"},
        {"net/llc", "llc_"},
        {"net/mac80211", "ieee80211_ sta_info_"},
        {"net/mpls", "mpls_"},
        {"net/mptcp", "mptcp_ proc_pm subflow_"},
        {"net/netfilter", "bitmap_ip bitmap_port cgroup_mt compat_xt connlimit_ ct_sip ctnetlink_ hash_ip hash_net hashlimit_ "
                          "ip_conntrack ip_set_ ip_vs_ list_set nf_ nfacct_ nfnetlink_ nfnl_ nfqnl_ nfqueue_ nft_ nfulnl_ "
                          "pipapo_ recent_ sctp_mt synproxy_ xt_"},
        {"net/netlabel", "netlbl_"},
        {"net/netlink", "ctrl_ genl_ netlink_"},
        {"net/openvswitch", "ovs_ queue_userspace"},
        {"net/packet", "fanout_ packet_ prb_open tpacket_"},
        {"net/rds", "rds_"},
        {"net/rxrpc", "rxrpc_"},
        {"net/sched", "basic_ bstats_ cake_ cls_ clsact_ fl_ fq_ htb_ ingress_ mirred_ mq_ mqprio_ pfifo_ qdisc_ sch_ sfq_ "
                      "tbf_ tc_ tcf_ u32_"},
        {"net/sctp", "sctp_"},
        {"net/smc", "smc_"},
        {"net/strparser", "strp_"},
        {"net/sunrpc", "cache_request gss_ rpc_ rpcauth_ rpcb_ svc_ svcauth_ xdr_ xprt_ xs_"},
        {"net/tipc", "tipc_"},
        {"net/tls", "tls_"},
        {"net/unix", "unix_"},
        {"net/vmw_vsock", "virtio_transport vmci_transport vsock_"},
        {"net/wireless", "cfg80211_ nl80211_ wiphy_"},
        {"net/xdp", "xdp_umem xp_ xsk_"},
        {"net/xfrm", "km_ xfrm_ xfrmi_"},
        {"security", "aa_ apparmor_ avc_ avtab_ bpf_lsm cap_ cond_ dev_exception devcgroup_ ebitmap_ encrypted_ evm_ "
                     "hashtab_ hook_ ima_ inode_doinit install_process_key install_session_key install_thread_key "
                     "join_session key_ keyctl_ keyring_ landlock_ lsm_ mls_ policydb_ request_key role_ security_ "
                     "securityfs_ sel_ selinux_ sidtab_ smack_ smk_ symtab_ sys_add_key sys_keyctl sys_landlock tomoyo_ "
                     "user_key yama_"},
        {"slab", "alloc_empty_sheaf alloc_full_sheaf alloc_slab allocate_slab barn_ cache_grow cache_random "
                 "create_cache create_kmalloc deactivate_slab do_kmem_cache early_kmem_cache_node free_slab init_cache "
                 "init_kmem_cache init_slab kmalloc kmem_cache_ ksize kvfree_rcu kvmalloc mark_objexts "
                 "new_kmalloc_cache new_slab obj_exts prefill_sheaf prepare_slab rcu_free_sheaf refill_sheaf sheaf_ "
                 "slab_ slabs_ sysfs_slab"},
        {"sound", "snd_ soundcore_"},
        {"virt/kvm", "alloc_apic_access alloc_loaded_vmcs alloc_vmcs apic_set apic_timer_fn apic_update em_ emulator_ gfn_ "
                     "irq_bypass irqfd_ kvm_ mmu_alloc mmu_page mmu_set mmu_topup nested_ paging32 paging64 picdev_ svm_ "
                     "tdp_mmu vcpu_ vmx_ x86_emulate"},
};
const size_t category_functions_n = ELEMENTS(category_functions);

const struct category_words category_modules[] = {
        {"block", "bfq kyber_iosched mq_deadline"},
        {"bpf", "bpf"},
        {"crypto", "aesni_intel af_alg algif_ async_ cryptd crypto_ ghash_clmulni_intel sha1_ssse3 sha256_ssse3 "
                   "sha512_ssse3 xor"},
        {"drivers/acpi", "acpi_ nfit"},
        {"drivers/ata", "ahci ata_ ata_generic ata_piix libahci libata"},
        {"drivers/block", "brd drbd floppy loop nbd null_blk rbd ublk_drv virtio_blk xen_blkback xen_blkfront zram"},
        {"drivers/bluetooth", "btusb"},
        {"drivers/char", "hpilo ipmi_ tpm tpm_ virtio_console virtio_rng"},
        {"drivers/cpufreq", "acpi_cpufreq amd_pstate"},
        {"drivers/dax", "dax dax_ device_dax kmem"},
        {"drivers/firmware", "efivars qemu_fw_cfg"},
        {"drivers/gpu", "amdgpu ast bochs cirrus drm drm_ i915 mgag200 nouveau qxl radeon ttm vgem virtio_gpu vmwgfx xe"},
        {"drivers/hid", "hid hid_ uhid usbhid"},
        {"drivers/hv", "hv_balloon hv_utils hv_vmbus"},
        {"drivers/hwmon", "coretemp k10temp"},
        {"drivers/i2c", "i2c_"},
        {"drivers/infiniband", "ib_ irdma iw_cm mlx4_ib mlx5_ib rdma_cm rdma_rxe rdma_ucm siw"},
        {"drivers/input", "atkbd evdev joydev mousedev psmouse serio_raw uinput"},
        {"drivers/iommu", "iommufd"},
        {"drivers/md", "bcache dm_ dm_mod dm_multipath linear md_mod raid0 raid1 raid10 raid456"},
        {"drivers/media", "dvb_core mc uvcvideo v4l2_ videobuf2_ videodev"},
        {"drivers/mmc", "mmc_block mmc_core sdhci sdhci_"},
        {"drivers/net", "ath10k_ ath11k atlantic bnx2x bnxt_en bonding dummy e1000 e1000e ena geneve gve hv_netvsc i40e iavf "
                        "ice igb igc iwlmvm iwlwifi ixgbe ixgbevf macsec macvlan macvtap mdio mlx4_core mlx4_en mlx5_core "
                        "mt76 net_failover netdevsim netkit nlmon ppp_ ppp_generic r8169 rtw88_ slip tap team tg3 tun veth "
                        "virtio_net vmxnet3 vrf vxlan wireguard xen_netback xen_netfront"},
        {"drivers/nvdimm", "libnvdimm nd_ virtio_pmem"},
        {"drivers/nvme", "nvme nvme_ nvmet nvmet_"},
        {"drivers/pci", "pci_hyperv shpchp"},
        {"drivers/platform", "wmi"},
        {"drivers/scsi", "be2iscsi hpsa hv_storvsc iscsi_tcp libfc libiscsi libsas lpfc megaraid_sas mpi3mr mpt3sas qla2xxx "
                         "scsi_ sd_mod sg smartpqi sr_mod virtio_scsi vmw_pvscsi"},
        {"drivers/target", "iscsi_target_mod target_core_ tcm_loop"},
        {"drivers/thermal", "intel_powerclamp"},
        {"drivers/usb", "cdc_acm ehci_hcd ehci_pci typec uas uhci_hcd usb_storage usbcore xhci_hcd xhci_pci"},
        {"drivers/vdpa", "vdpa vdpa_"},
        {"drivers/vfio", "vfio vfio_"},
        {"drivers/vhost", "vhost vhost_ vringh"},
        {"drivers/virt", "vboxguest"},
        {"drivers/virtio", "virtio virtio_balloon virtio_mem virtio_mmio virtio_pci virtio_ring"},
        {"drivers/watchdog", "iTCO_wdt softdog wdat_wdt"},
        {"drivers/xen", "xen_evtchn xen_gntalloc xen_gntdev xen_privcmd"},
        {"fs", "binfmt_misc mbcache"},
        {"fs/9p", "9p"},
        {"fs/affs", "affs"},
        {"fs/afs", "kafs"},
        {"fs/autofs", "autofs4"},
        {"fs/bcachefs", "bcachefs"},
        {"fs/btrfs", "btrfs"},
        {"fs/ceph", "ceph"},
        {"fs/configfs", "configfs"},
        {"fs/dlm", "dlm"},
        {"fs/efivarfs", "efivarfs"},
        {"fs/erofs", "erofs"},
        {"fs/exfat", "exfat"},
        {"fs/ext4", "ext4"},
        {"fs/f2fs", "f2fs"},
        {"fs/fat", "fat msdos vfat"},
        {"fs/fuse", "cuse fuse virtiofs"},
        {"fs/gfs2", "gfs2"},
        {"fs/hfs", "hfs"},
        {"fs/hfsplus", "hfsplus"},
        {"fs/isofs", "isofs"},
        {"fs/jbd2", "jbd2"},
        {"fs/jfs", "jfs"},
        {"fs/lockd", "lockd"},
        {"fs/netfs", "cachefiles fscache netfs"},
        {"fs/nfs", "nfs nfs_layout_ nfsv2 nfsv3 nfsv4"},
        {"fs/nfs_common", "grace nfs_acl"},
        {"fs/nfsd", "nfsd"},
        {"fs/nilfs2", "nilfs2"},
        {"fs/nls", "nls_"},
        {"fs/ntfs3", "ntfs3"},
        {"fs/ocfs2", "ocfs2 ocfs2_"},
        {"fs/orangefs", "orangefs"},
        {"fs/overlayfs", "overlay"},
        {"fs/pstore", "pstore_blk pstore_zone ramoops"},
        {"fs/quota", "quota_tree quota_v1 quota_v2"},
        {"fs/smb", "cifs cifs_ ksmbd"},
        {"fs/squashfs", "squashfs"},
        {"fs/ubifs", "ubifs"},
        {"fs/udf", "udf"},
        {"fs/xfs", "xfs"},
        {"fs/zonefs", "zonefs"},
        {"lib", "crc16 crc32c_generic crc_ libcrc32c lz4_ lzo_ raid6_pq ts_ zstd_"},
        {"net", "drop_monitor failover pktgen sock_diag"},
        {"net/6lowpan", "6lowpan"},
        {"net/802", "garp mrp p8022 psnap stp"},
        {"net/8021q", "8021q"},
        {"net/9p", "9pnet 9pnet_"},
        {"net/appletalk", "appletalk"},
        {"net/atm", "atm"},
        {"net/batman-adv", "batman_adv"},
        {"net/bluetooth", "bluetooth bnep rfcomm"},
        {"net/bridge", "br_netfilter bridge ebt_ ebtable_ ebtables"},
        {"net/can", "can can_bcm can_raw"},
        {"net/ceph", "libceph"},
        {"net/dns_resolver", "dns_resolver"},
        {"net/ipv4", "ah4 arp_tables arptable_filter esp4 fou gre inet_diag ip_gre ip_tables ip_tunnel ip_vti ipcomp ipip "
                     "ipt_ iptable_ nf_defrag_ipv4 nf_dup_ipv4 nf_reject_ipv4 nf_socket_ipv4 nf_tproxy_ipv4 raw_diag tcp_ "
                     "tunnel4 udp_diag udp_tunnel"},
        {"net/ipv6", "ah6 esp6 ip6_ ip6_tables ip6t_ ip6table_ ipcomp6 ipv6 nf_defrag_ipv6 nf_dup_ipv6 nf_reject_ipv6 "
                     "nf_socket_ipv6 nf_tproxy_ipv6 sit tunnel6"},
        {"net/kcm", "kcm"},
        {"net/key", "af_key"},
        {"net/l2tp", "l2tp_"},
        {"net/llc", "llc"},
        {"net/mac80211", "mac80211"},
        {"net/mpls", "mpls_"},
        {"net/mptcp", "mptcp_diag"},
        {"net/netfilter", "ip_set ip_set_ ip_vs ip_vs_ nf_ nfnetlink nfnetlink_ nft_ x_tables xt_"},
        {"net/netlink", "netlink_diag"},
        {"net/nfc", "nfc"},
        {"net/openvswitch", "openvswitch vport_"},
        {"net/packet", "af_packet_diag"},
        {"net/psample", "psample"},
        {"net/qrtr", "qrtr"},
        {"net/rds", "rds rds_"},
        {"net/rxrpc", "rxrpc"},
        {"net/sched", "act_ cls_ em_ sch_"},
        {"net/sctp", "sctp sctp_diag"},
        {"net/smc", "smc smc_diag"},
        {"net/sunrpc", "auth_rpcgss rpcrdma rpcsec_gss_krb5 sunrpc"},
        {"net/tipc", "tipc"},
        {"net/tls", "tls"},
        {"net/unix", "unix_diag"},
        {"net/vmw_vsock", "vmw_vsock_ vsock vsock_"},
        {"net/wireless", "cfg80211"},
        {"net/xdp", "xsk_diag"},
        {"net/xfrm", "xfrm_"},
        {"security", "encrypted_keys trusted"},
        {"sound", "snd snd_ soundcore"},
        {"virt/kvm", "irqbypass kvm kvm_amd kvm_intel"},
};
const size_t category_modules_n = ELEMENTS(category_modules);
