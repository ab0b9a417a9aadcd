/* What is in every library of a world: a call of dlopen on its own behalf. The linker gives it a
   second name, by which the program finds it in this one library. */
extern void *dlopen(const char *, int);
void *worlds_open(const char *name, int mode) {
    /* No tail call: the loader looks at who is returned to. */
    void *volatile handle = dlopen(name, mode);
    return handle;
}
