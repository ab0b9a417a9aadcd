/* The program of every world. It prints what is mapped, then opens what its arguments say, and
   prints after each what came of it and what is mapped.

   No header is included, so that one file serves both C libraries. */
typedef unsigned long size_t;
struct info { void *address; const char *name; };
extern int dl_iterate_phdr(int (*)(struct info *, size_t, void *), void *);
extern void *dlopen(const char *, int), *dlsym(void *, const char *);
extern char *dlerror(void);
extern int printf(const char *, ...), fflush(void *);

enum { NOW_AND_GLOBAL = 0x102 };

static int show(struct info *info, size_t size, void *data) {
    (void)size, (void)data;
    printf("M %s\n", info->name);
    return 0;
}

int main(int count, char **words) {
    dl_iterate_phdr(show, 0);
    for (int at = 1; at + 1 < count; at += 2) {
        const char *caller = words[at], *name = words[at + 1];
        /* Each library has a function of its own that calls dlopen; it is found where the library
           is loaded, since all are opened globally. */
        void *(*call)(const char *, int) = dlsym((void *)0, caller);
        void *handle = (call ? call : dlopen)(name, NOW_AND_GLOBAL);
        printf("O %s %s\n", call ? "library" : "program", handle ? "" : dlerror());
        dl_iterate_phdr(show, 0);
    }
    fflush(0);
    return 0;
}
