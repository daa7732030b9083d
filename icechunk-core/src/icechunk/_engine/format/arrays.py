"""Names for the types of the NumPy columns that tables are made of."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

ByteColumn: TypeAlias = npt.NDArray[np.uint8]
"""Small numbers, or plain bytes."""

Positions: TypeAlias = npt.NDArray[np.int64]
"""Places in a buffer, or counts; -1 where there is none."""

U32Column: TypeAlias = npt.NDArray[np.uint32]

U64Column: TypeAlias = npt.NDArray[np.uint64]

CodeColumn: TypeAlias = npt.NDArray[np.int32]
"""Row numbers of another table; -1 where there is none."""

StructColumn: TypeAlias = npt.NDArray[np.void]
"""Fixed numbers of bytes, like ids."""

BoolColumn: TypeAlias = npt.NDArray[np.bool_]

AnyColumn: TypeAlias = npt.NDArray[Any]
