"""The CPU backend: loop nests scheduled, emitted as LLVM IR, compiled, cached and called."""
