/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Makefile and CMakeLists.txt of the artifact: libmodel.so, libmodel.a and programs, with any C compiler. */
#include "artifact.h"

#include <string.h>

/* Programs of the runtime: runtime/NAME.c. */
static const char *const programs[] = {"bench", "tune"};
enum { PROGRAMS = sizeof programs / sizeof *programs };

static bool ends_with(const char *string, const char *suffix) {
  const size_t length = strlen(string), suffix_length = strlen(suffix);
  return length >= suffix_length && !strcmp(string + length - suffix_length, suffix);
}

static bool is_program(const char *path, const char *name) {
  const size_t folder = strlen("runtime/"), length = strlen(name);
  return !strncmp(path, "runtime/", folder) && !strncmp(path + folder, name, length) &&
         !strcmp(path + folder + length, ".c");
}

/* Is the file a source of the library? */
static bool is_library_source(const char *path) {
  bool found = false;
  for (int i = 0; i < PROGRAMS; i++) found |= is_program(path, programs[i]);
  return ends_with(path, ".c") && !found;
}

static bool has_program(const artifact *a, const char *name) {
  for (size_t i = 0; i < a->file_count; i++)
    if (is_program(a->files[i].path, name)) return true;
  return false;
}

static const char *kernel_flags(const artifact *a) {
  const char *flags = a->options->target->kernel_flags;
  return flags ? flags : "";
}

/* The same for CMake: a list. */
static const char *kernel_options(const artifact *a) {
  char *options = arena_format(a->c->arena, "%s", kernel_flags(a));
  for (char *at = options; *at; at++)
    if (*at == ' ') *at = ';';
  return options;
}

void model_makefile(const artifact *a, text *out) {
  text_append(out,
              "# Written by pinion " PINION_VERSION_TEXT ". Builds libmodel.so, libmodel.a and programs:\n"
              "#\n"
              "#   make -j\n"
              "#   make -j CC=aarch64-linux-gnu-gcc CFLAGS='-O3 -mcpu=neoverse-n1'\n"
              "ifeq ($(origin CC), default)\nCC = cc\nendif\n"
              "ifeq ($(origin AR), default)\nAR = ar\nendif\n"
              "CFLAGS ?= -O3 -march=native\n"
              "BASE_FLAGS = -std=gnu11 -fPIC -pthread -I. -Iruntime\n"
              "KERNEL_FLAGS = %s\nLIBRARIES = -pthread -ldl -lm\n\nSOURCES =",
              kernel_flags(a));
  for (size_t i = 0; i < a->file_count; i++)
    if (is_library_source(a->files[i].path)) text_append(out, " \\\n  %s", a->files[i].path);
  text_append(out, "\nHEADERS =");
  for (size_t i = 0; i < a->file_count; i++)
    if (ends_with(a->files[i].path, ".h")) text_append(out, " \\\n  %s", a->files[i].path);
  text_append(out, "\nOBJECTS = $(SOURCES:.c=.o)\nPROGRAMS =");
  for (int i = 0; i < PROGRAMS; i++)
    if (has_program(a, programs[i])) text_append(out, " %s", programs[i]);
  text_append(out, "\n\nall: libmodel.so libmodel.a $(PROGRAMS)\n\n"
                   "libmodel.so: $(OBJECTS)\n\t$(CC) $(CFLAGS) -shared -o $@ $(OBJECTS) $(LDFLAGS) $(LIBRARIES)\n\n"
                   "libmodel.a: $(OBJECTS)\n\trm -f $@\n\t$(AR) rcs $@ $(OBJECTS)\n\n"
                   "$(PROGRAMS): %%: runtime/%%.o libmodel.a\n\t$(CC) $(CFLAGS) -o $@ $< libmodel.a $(LDFLAGS) "
                   "$(LIBRARIES)\n\n");
  text_append(out,
              "kernels/%%.o: kernels/%%.c $(HEADERS)\n\t$(CC) $(BASE_FLAGS) $(KERNEL_FLAGS) $(CFLAGS) -c -o $@ $<\n\n"
              "%%.o: %%.c $(HEADERS)\n\t$(CC) $(BASE_FLAGS) $(CFLAGS) -c -o $@ $<\n\n"
              "clean:\n\trm -f $(OBJECTS) $(PROGRAMS:%%=runtime/%%.o) libmodel.so libmodel.a $(PROGRAMS)\n\n"
              ".PHONY: all clean\n");
}

void model_cmake(const artifact *a, text *out) {
  text_append(out,
              "# Written by pinion " PINION_VERSION_TEXT ". Builds libmodel.so, libmodel.a and programs.\n"
              "cmake_minimum_required(VERSION 3.16)\nproject(%s LANGUAGES C)\n\n"
              "if(NOT CMAKE_BUILD_TYPE AND NOT DEFINED CMAKE_C_FLAGS_INIT AND CMAKE_C_FLAGS STREQUAL \"\")\n"
              "  set(CMAKE_C_FLAGS \"-O3\")\n  if(NOT CMAKE_CROSSCOMPILING)\n"
              "    set(CMAKE_C_FLAGS \"-O3 -march=native\")\n  endif()\nendif()\n"
              "set(CMAKE_C_STANDARD 11)\nset(CMAKE_C_EXTENSIONS ON)\nset(CMAKE_POSITION_INDEPENDENT_CODE ON)\n"
              "find_package(Threads REQUIRED)\n\nadd_library(model_objects OBJECT",
              a->options->model_name);
  for (size_t i = 0; i < a->file_count; i++)
    if (is_library_source(a->files[i].path)) text_append(out, "\n  %s", a->files[i].path);
  text_append(out, ")\ntarget_include_directories(model_objects PUBLIC ${CMAKE_CURRENT_SOURCE_DIR} "
                   "${CMAKE_CURRENT_SOURCE_DIR}/runtime)\n");
  text_append(out,
              "file(GLOB kernels ${CMAKE_CURRENT_SOURCE_DIR}/kernels/*.c)\n"
              "set_source_files_properties(${kernels} PROPERTIES COMPILE_OPTIONS \"%s\")\n\n"
              "foreach(kind SHARED STATIC)\n  string(TOLOWER model_${kind} name)\n"
              "  add_library(${name} ${kind} $<TARGET_OBJECTS:model_objects>)\n"
              "  set_target_properties(${name} PROPERTIES OUTPUT_NAME model)\n"
              "  target_include_directories(${name} PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})\n"
              "  target_link_libraries(${name} PUBLIC Threads::Threads ${CMAKE_DL_LIBS} m)\nendforeach()\n",
              kernel_options(a));
  for (int i = 0; i < PROGRAMS; i++)
    if (has_program(a, programs[i]))
      text_append(out,
                  "\nadd_executable(%s runtime/%s.c)\ntarget_include_directories(%s PRIVATE "
                  "${CMAKE_CURRENT_SOURCE_DIR}/runtime)\ntarget_link_libraries(%s PRIVATE model_static)\n",
                  programs[i], programs[i], programs[i], programs[i]);
}
