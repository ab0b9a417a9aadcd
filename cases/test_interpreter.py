"""Is the interpreter of that environment healthy, as far as the checks can tell?"""

from harness.matrixtests import test_interpreter as test_interpreter
