#include <nanobind/nanobind.h>

NB_MODULE(nanobind_module, module) {
    module.doc() = "A sample extension.";
    module.def("answer", [] { return 42; }, "Return 42, made by the C API.");
}
