"""Does the extension import in that environment, as matrix.yaml says?"""

from harness.matrixtests import test_import as test_import
