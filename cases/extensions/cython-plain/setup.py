from Cython.Build import cythonize
from setuptools import Extension, setup

setup(ext_modules=cythonize([Extension("cython_plain", ["cython_plain.pyx"])]))
