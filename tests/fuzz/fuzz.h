/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the fuzz targets share. A target is one function that takes any bytes, hands them to a parser as the programs do, and
 * demands what its header promises of every answer. Under libFuzzer it gets what libFuzzer thinks of; in the usual trees
 * driver.c gives it the files of its corpus.
 *
 * Invariants: a target keeps nothing from one input to the next but what it needs for speed; the checks here share no code
 * with what they check.
 */
#pragma once

#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the process, which libFuzzer and the driver take for a finding. */
#define demand(condition) ((condition) ? (void)0 : fuzz_broken(#condition, __FILE__, __LINE__))
_Noreturn void fuzz_broken(const char *condition, const char *file, int line);

/* The input as a string, in memory of its exact size, so that ASan sees a look beyond its end. The caller's. */
char *fuzz_text(const uint8_t *data, size_t size);

/* The next line of the text at *p, without its newline, likewise; NULL behind the last one. */
char *fuzz_line(const char **p);

/* Valid UTF-8; printable: and nothing in it that a terminal, a log reader or D-Bus would stumble over. */
bool fuzz_is_utf8(const char *s, size_t n);
bool fuzz_is_printable(const char *s);

/* The contract of `reterr`: a failure has one printable, bounded sentence with a full stop (but for want of memory), success
 * has none. Frees it. */
void fuzz_check_sentence(int r, char *sentence);

/* True for "/" and "/a/b" without "." and "..": what cgroup-path.h calls normalized. */
bool fuzz_is_normal_path(const char *path);

/*
 * For parsers that open files themselves: a file in memory that is written anew for each input, its path, and a directory with
 * links to such files. The directory is one for the whole process and is removed at its end.
 */
int fuzz_file(void);
void fuzz_file_write(int fd, const void *data, size_t n);
char *fuzz_file_path(int fd);
const char *fuzz_directory(void);
void fuzz_directory_make(const char *name); /* a directory in it, before what lies there */
void fuzz_directory_add(const char *name, int fd);
