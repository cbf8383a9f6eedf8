"""Tests of `llama_index_minicpm`."""
