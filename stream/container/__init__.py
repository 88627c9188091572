"""Zip and Matroska files that grow at their end and are whole after a crash up to there."""
