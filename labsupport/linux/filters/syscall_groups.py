"""What each system call is about: our own sorting, for pictures and filters by topic."""

from __future__ import annotations

GROUPS = {
    "files": """
        read write open close stat fstat lstat poll lseek pread64 pwrite64 readv writev access pipe
        select dup dup2 sendfile fcntl flock fsync fdatasync truncate ftruncate getdents getcwd
        chdir fchdir rename mkdir rmdir creat link unlink symlink readlink chmod fchmod chown fchown
        lchown umask utime mknod statfs fstatfs ustat sync setxattr lsetxattr fsetxattr getxattr
        lgetxattr fgetxattr listxattr llistxattr flistxattr removexattr lremovexattr fremovexattr
        io_setup io_destroy io_getevents io_submit io_cancel io_pgetevents getdents64 fadvise64
        utimes openat mkdirat mknodat fchownat futimesat newfstatat unlinkat renameat linkat
        symlinkat readlinkat fchmodat faccessat pselect6 ppoll splice tee sync_file_range vmsplice
        utimensat epoll_create epoll_ctl epoll_wait epoll_pwait epoll_create1 epoll_pwait2
        epoll_ctl_old epoll_wait_old inotify_init inotify_add_watch inotify_rm_watch inotify_init1
        fanotify_init fanotify_mark fallocate eventfd eventfd2 dup3 pipe2 preadv pwritev preadv2
        pwritev2 readahead lookup_dcookie syncfs renameat2 copy_file_range statx io_uring_setup
        io_uring_enter io_uring_register close_range openat2 faccessat2 fchmodat2 name_to_handle_at
        open_by_handle_at ioctl quotactl quotactl_fd cachestat setxattrat getxattrat listxattrat
        removexattrat file_getattr file_setattr""",
    "mounts, namespaces": """
        mount umount2 pivot_root chroot unshare setns open_tree open_tree_attr move_mount fsopen
        fsconfig fsmount fspick mount_setattr statmount listmount listns sethostname
        setdomainname swapon swapoff""",
    "processes": """
        clone clone3 fork vfork execve execveat exit exit_group wait4 waitid getpid getppid gettid
        getpgrp getpgid setpgid getsid setsid kill tkill tgkill pidfd_open pidfd_send_signal
        pidfd_getfd ptrace process_vm_readv process_vm_writev process_madvise process_mrelease
        kcmp prctl arch_prctl personality set_tid_address get_robust_list set_robust_list futex
        futex_waitv futex_wake futex_wait futex_requeue rseq rseq_slice_yield membarrier
        rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigqueueinfo
        rt_sigsuspend rt_tgsigqueueinfo sigaltstack signalfd signalfd4 pause alarm restart_syscall
        modify_ldt set_thread_area get_thread_area map_shadow_stack uprobe uretprobe""",
    "scheduling and limits": """
        sched_yield sched_setparam sched_getparam sched_setscheduler sched_getscheduler
        sched_get_priority_max sched_get_priority_min sched_rr_get_interval sched_setaffinity
        sched_getaffinity sched_setattr sched_getattr getpriority setpriority ioprio_set ioprio_get
        getrlimit setrlimit prlimit64 getrusage getcpu times""",
    "memory": """
        mmap mprotect munmap brk mremap msync mincore madvise mlock munlock mlockall munlockall
        mlock2 remap_file_pages mbind set_mempolicy get_mempolicy migrate_pages move_pages
        set_mempolicy_home_node memfd_create memfd_secret userfaultfd pkey_mprotect pkey_alloc
        pkey_free mseal""",
    "network": """
        socket connect accept accept4 sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg shutdown
        bind listen getsockname getpeername socketpair setsockopt getsockopt""",
    "messages (IPC)": """
        shmget shmat shmctl shmdt semget semop semctl semtimedop msgget msgsnd msgrcv msgctl
        mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr""",
    "time": """
        nanosleep clock_nanosleep gettimeofday settimeofday time clock_gettime clock_settime
        clock_getres clock_adjtime adjtimex getitimer setitimer timer_create timer_settime
        timer_gettime timer_getoverrun timer_delete timerfd_create timerfd_settime
        timerfd_gettime""",
    "users and privileges": """
        getuid getgid geteuid getegid setuid setgid setreuid setregid setresuid getresuid setresgid
        getresgid setfsuid setfsgid getgroups setgroups capget capset seccomp
        landlock_create_ruleset landlock_add_rule landlock_restrict_self
        lsm_get_self_attr lsm_set_self_attr lsm_list_modules add_key request_key keyctl""",
    "the machine": """
        reboot kexec_load kexec_file_load init_module finit_module delete_module bpf perf_event_open
        syslog acct iopl ioperm sysinfo uname sysfs getrandom vhangup""",
}  # fmt: skip
"""Names by topic. What a newer kernel adds is "other" until it is sorted in here."""
