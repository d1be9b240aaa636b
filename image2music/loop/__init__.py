"""The paper's loop, one for every composer: draft, mend, check, repair, measure, refine, explain."""
