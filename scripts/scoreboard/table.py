"""The rows R1 to R26: what must hold, the figure to reach, and what measures it."""

from __future__ import annotations

from scripts.scoreboard import folders, fuzz, hazards, learning, runs, wheels
from scripts.scoreboard.findings import Row

ROWS = (
    Row(
        "R1",
        "hostile input",
        "1,000,000 SMILES, 500,000 SDF records, 100,000 YAML files, 50,000 model folders and checkpoints, 100,000 "
        "garbage graphs, all mutated (of one record several may come): no crash, hang or traceback",
        measures=(fuzz.measure, fuzz.measure_commands),
    ),
    Row(
        "R2",
        "isolation",
        "SIGSEGV, a hang, 8 GB of memory in 1 of 1,000 molecules: 999 results, 1 named; at most deadline + 1 s lost; "
        "others cost at most 5 % more",
        tests=(
            "test_processes.py::test_one_of_a_thousand_costs_itself_alone",
            "test_processes.py::test_what_needs_more_memory_than_there_may_be_costs_that_item_alone",
            "integration/test_isolation.py::test_generate",
            "integration/test_isolation.py::test_vary_and_conformers",
            "integration/test_isolation.py::test_evaluate",
            "screening/runs/test_run.py::test_a_molecule_that_kills_hangs_or_is_greedy_costs_one_row_and_stays_so",
        ),
        limits={
            f"seconds lost by a {deed} beyond its deadline, {chunk} sent at once": 1.0
            for deed, chunk in (("crash", 1), ("crash", 20), ("hang", 1), ("hang", 20), ("greedy", 20))
        },
        measures=(runs.measure_isolation,),
        cause="a worker that ended is started anew, and what was sent together with the item to blame is done again",
    ),
    Row(
        "R3",
        "kill -9 of generation and screening",
        "200 kills at random moments each: output the same bytes as uninterrupted",
        tests=(
            "integration/test_resume.py::test_a_run_that_is_killed_at_any_moment_goes_on_to_the_same_bytes",
            "screening/runs/test_run.py::test_a_killed_run_goes_on_and_ends_with_the_same_tables",
        ),
        measures=(runs.measure_kills,),
    ),
    Row(
        "R4",
        "kill -9 and SIGTERM of training",
        "100 kills, also while saving: weights equal bit by bit; SIGTERM saves and gives 143",
        tests=(
            "training/test_train.py::test_a_killed_run_goes_on_as_if_nothing_had_happened",
            "training/test_train.py::test_a_signal_saves_and_ends_with_its_status",
            "training/test_train.py::test_a_checkpoint_that_was_being_replaced_when_its_run_was_killed_is_found",
            "test_folders.py::test_a_kill_at_any_step_leaves_the_old_or_the_new_folder",
        ),
        measures=(runs.measure_training_kills,),
    ),
    Row(
        "R5",
        "full disk, read-only, quota",
        "every writer says so, status not 0, the previous file whole, nothing half-written",
        tests=(
            "test_files.py",
            "test_folders.py::test_an_error_leaves_what_was_there",
            "integration/test_commands.py::test_a_full_disk_is_one_line_and_leaves_nothing",
            "integration/test_bad_input.py::test_places_where_nothing_can_be_written_show_at_once",
            "datasets/test_prepare.py::test_a_full_disk_leaves_nothing",
            "training/test_train.py::test_a_full_disk_while_saving_is_one_line_and_leaves_the_older_checkpoint",
            "models/test_folder.py::test_a_failed_write_leaves_the_previous_folder_and_nothing_else",
            "cli/test_main.py::test_a_full_disk_behind_the_output_is_one_line",
        ),
    ),
    Row(
        "R6",
        "equivariance of the network",
        "relative error below 1e-5 (float32), 1e-10 (float64): rotation, reflection, translation, permutation; 50 "
        "molecules, random and trained weights",
        tests=(
            "nn/test_network.py::test_rotations_reflections_translations_and_permutations",
            "models/test_equivariance.py::test_the_network_is_equivariant",
            "models/test_equivariance.py::test_a_broken_network_is_caught",
        ),
        limits={"largest error, float32": 1e-5, "largest error, float64": 1e-10},
        measures=(runs.measure_equivariance,),
        cause="on random graphs the larger network grows the rounding of its first two layers a hundredfold; no single "
        "product is to blame (each was tried apart), and the first two layers in float64, or all of them with float32 "
        "between them, leave 7e-6 to 3e-5; drawn molecules with noise have 3e-6 to 1.1e-5",
    ),
    Row(
        "R7",
        "equivariance of the whole sampler",
        "the same noise moved, 20 molecules, 100 steps, float64: coordinates within 1e-8 angstrom, categories equal",
        tests=("sampling/test_sampler.py::test_moved_noise_makes_moved_molecules",),
        limits={"coordinates apart, angstrom": 1e-8},
    ),
    Row(
        "R8",
        "forward kernels, posteriors",
        "below 1e-12 of products and Bayes' rule: every t, up to 16 classes, all strides",
        tests=(
            "diffusion/test_categorical.py::test_closed_form_marginals_are_products_of_one_step_kernels",
            "diffusion/test_categorical.py::test_posterior_is_bayes_rule_at_any_stride",
            "diffusion/test_categorical.py::test_wrong_marginals_are_rejected",
            "diffusion/test_categorical.py::test_wrong_posteriors_are_rejected",
            "diffusion/test_gaussian.py::test_marginals_have_the_closed_form_covariance",
            "diffusion/test_gaussian.py::test_reverse_step_is_the_posterior_at_any_stride",
        ),
        limits={"forward kernels": 1e-12, "posteriors": 1e-12},
    ),
    Row(
        "R9",
        "exactness of the sampler",
        "total variation below 1e-12, moment recursion below 1e-10, 100,000 chains at p > 1e-3, a 1 % mutant rejected",
        tests=(
            "diffusion/test_categorical.py::test_the_reverse_chain_returns_the_data_exactly",
            "diffusion/test_categorical.py::test_wrong_reverse_chains_are_rejected",
            "diffusion/test_gaussian.py::test_chains_with_the_mean_follow_the_moment_recursion",
            "diffusion/test_gaussian.py::test_wrong_chains_are_rejected",
            "sampling/test_exactness.py::test_ancestral_samples_are_normal_with_the_variance_of_the_recursion",
            "sampling/test_exactness.py::test_noise_one_percent_too_large_is_rejected",
            "sampling/test_exactness.py::test_single_categories_are_exact_in_every_solver",
            "sampling/test_exactness.py::test_a_denoiser_that_trusts_a_class_too_much_is_rejected",
            "sampling/test_exactness.py::test_a_few_molecules_come_back_in_their_shares",
        ),
        limits={"total variation": 1e-12, "moment recursion": 1e-10},
        measures=(runs.measure_chains,),
    ),
    Row(
        "R10",
        "variational bound",
        "equals the entropy for the exact denoiser within 1e-10; not below the truth for 100 random denoisers",
        tests=(
            "diffusion/test_bound_categorical.py::test_the_exact_denoiser_reaches_the_entropy",
            "diffusion/test_bound_categorical.py::test_no_denoiser_gets_below_the_truth",
            "diffusion/test_bound_categorical.py::test_a_bound_that_is_a_percent_too_small_gets_below_it",
            "diffusion/test_bound_gaussian.py::test_the_whole_bound_has_its_closed_form",
            "diffusion/test_bound_gaussian.py::test_no_linear_denoiser_gets_below_the_truth",
            "diffusion/test_bound_gaussian.py::test_a_bound_that_is_a_percent_too_small_gets_below_it",
            "diffusion/test_bound.py::test_the_bound_is_a_little_above_the_exact_likelihood",
        ),
        limits={"bound less entropy": 1e-10},
    ),
    Row(
        "R11",
        "conditioning",
        "weight 0 unconditional bit by bit; guided toys at their reweighted targets, p > 1e-3; conditions dropped as "
        "often as asked",
        tests=(
            "sampling/test_guidance.py::test_scale_0_is_unguided_bit_for_bit_and_scale_1_plain_conditioning",
            "sampling/test_property_guidance.py::test_scale_0_is_unguided_bit_for_bit",
            "sampling/test_smc.py::test_weight_zero_is_plain_sampling_bit_for_bit",
            "sampling/test_guidance.py::test_the_guided_flow_of_the_toy_ends_where_its_integral_does",
            "sampling/test_property_guidance.py::test_the_guided_sampler_of_the_toy_draws_from_the_exact_conditional",
            "sampling/test_smc.py::test_classes_have_their_reweighted_shares",
            "sampling/test_smc.py::test_a_potential_that_counts_twice_is_rejected",
            "generation/test_mcmc.py::test_moves_leave_the_reweighted_law_as_it_is",
            "training/test_denoiser_module.py::test_properties_are_dropped_as_often_as_asked",
        ),
    ),
    Row(
        "R12",
        "independence in a batch",
        "alone or among others within 1e-5 (float32), 1e-12 (float64); a NaN mate changes no bit; no gradient crosses",
        tests=(
            "nn/test_network.py::test_a_molecule_alone_is_the_same",
            "nn/test_network.py::test_a_poisoned_mate_changes_no_bit",
            "nn/test_network.py::test_no_gradient_crosses_molecules",
            "nn/test_property.py::test_what_stands_in_the_padding_and_a_poisoned_mate_change_no_bit",
            "sampling/test_sampler.py::test_a_state_that_is_not_finite_is_found_and_harms_no_mate",
            "sampling/test_microbatches.py::test_a_row_does_not_depend_on_the_number_of_rows",
        ),
        limits={"alone or in a batch, float32": 1e-5, "alone or in a batch, float64": 1e-12},
        cause="rounding of float32 where the shape of a product differs; commands compute in micro-batches of fixed "
        "shape, in which a molecule is the same bit by bit (last test)",
    ),
    Row(
        "R13",
        "determinism",
        "200 molecules twice, in batches of 1, 7, 64, with 0 and 2 workers, in 4 parts: the same SMILES, coordinates "
        "within 1e-4 angstrom",
        tests=(
            "generation/test_generate.py::test_a_molecule_does_not_depend_on_the_batch_size",
            "generation/test_generate.py::test_files_do_not_depend_on_the_number_of_threads",
            "integration/test_parallel_runs.py::test_parts_made_apart_are_one_run",
        ),
        measures=(runs.measure_repeats,),
    ),
    Row(
        "R14",
        "two processes train as one",
        "weights within 1e-6 (float32), 1e-12 (float64); parts of a generation the same set, none twice",
        tests=(
            "training/test_train.py::test_two_processes_train_the_same_model_as_one",
            "datasets/test_batching.py::test_ranks_share_a_global_batch",
            "integration/test_parallel_runs.py::test_parts_made_apart_are_one_run",
        ),
        limits={"weights apart, float32": 1e-6, "weights apart, float64": 1e-12},
    ),
    Row(
        "R15",
        "bfloat16",
        "its equivariance error published, below 5e-2; valid molecules less than 1 point below float32 on 1,000",
        measures=(runs.measure_precision,),
        cause="bfloat16 has 8 bits; with the context, the products of nodes or the first two layers in float32 the "
        "error of drugs stays between 5e-2 and 12e-2, on random graphs",
    ),
    Row(
        "R16",
        "integrity of model folders and checkpoints",
        "1,000 bit flips and 200 cuts refused; 20 hostile files refused, no code run; older formats load",
        tests=(
            "models/test_folder.py::test_every_bit_flip_and_every_truncation_is_refused",
            "models/test_folder.py::test_every_bit_flip_and_truncation_of_the_list_of_hashes_is_refused",
            "models/test_folder.py::test_a_pickle_in_place_of_the_weights_is_never_executed",
            "models/test_loaded.py::test_a_folder_without_the_keys_has_the_numbers_of_the_first_models",
            "training/test_checkpoint.py::test_every_flip_of_a_bit_is_seen_or_changes_nothing",
            "training/on_policy/test_states.py::test_a_run_of_the_release_before_goes_on",
        ),
        measures=(folders.measure,),
    ),
    Row(
        "R17",
        "unsafe calls",
        "no pickle, yaml.load, eval, weights_only=False, shell=True, unverified TLS, fork",
        tests=(
            "test_imports.py::test_nothing_unsafe_or_unfinished_is_in_the_package",
            "test_imports.py::test_the_check_above_finds_what_it_should",
        ),
    ),
    Row(
        "R18",
        "memory under load",
        "1,000,000 molecules screened: at most 600 MB a process, slope at most 1 MB for 100,000",
        tests=(
            "generation/test_molecule_result.py::test_first_numbers_are_those_of_a_dictionary_in_a_fraction_of_its_memory",
        ),
        measures=(runs.measure_memory,),
    ),
    Row(
        "R19",
        "accounting",
        "requested = valid + invalid + filtered + duplicate + withheld + failed in every run; else status not 0",
        tests=(
            "generation/test_generate.py::test_every_draw_is_accounted_for",
            "generation/test_generate.py::test_a_lost_draw_is_an_error",
            "generation/test_generate.py::test_all_draws_failed_is_an_error",
            "generation/test_molecule_result.py::test_every_number_comes_once",
            "generation/test_molecule_result.py::test_the_sum_holds_and_duplicates_are_marked",
            "integration/test_commands.py::test_generate_accounts_for_every_molecule",
            "nll/test_files.py::test_every_record_has_a_row",
            "datasets/test_prepare.py::test_every_record_is_accounted_for",
            "datasets/test_relax.py::test_every_record_is_accounted_for",
            "screening/runs/test_run.py::test_every_record_is_accounted_for_and_the_best_are_ranked",
        ),
    ),
    Row(
        "R20",
        "metrics",
        "60 golden molecules, derived by hand: all agree, with RDKit and PoseBusters too",
        tests=("chem/test_golden.py", "evaluation/test_posebusters.py"),
    ),
    Row(
        "R21",
        "numerical guards",
        "no value that is not finite in any file; NaN in weights, targets, coordinates, noise: a named error",
        tests=(
            "models/test_folder.py::test_weights_that_are_not_finite_are_neither_saved_nor_loaded",
            "training/test_checkpoint.py::test_values_that_are_not_finite_are_never_saved",
            "training/test_train.py::test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint",
            "sampling/test_sampler.py::test_a_state_that_is_not_finite_is_found_and_harms_no_mate",
            "sampling/test_sampler.py::test_a_failure_at_the_last_evaluation_counts",
            "scoring/test_targets.py::test_values_that_no_number_of_the_network_can_hold_are_refused",
            "chem/test_convert.py::test_bad_coordinates_are_refused_before_rdkit_accepts_them",
            "chem/io/test_records.py::test_coordinates_that_cannot_be_written_are_refused",
            "integration/test_commands.py::test_coordinates_that_are_no_numbers_never_become_data",
        ),
    ),
    Row(
        "R22",
        "learns",
        "16 molecules by heart: loss down 90 %, 95 % of samples one of them, below 3 min on a CPU",
        tests=("training/test_train.py::test_training_lowers_the_loss",),
        measures=(learning.measure,),
        cause="of a molecule in much noise many are likely, so that a share of the loss is left whatever is learnt; "
        "1.8 times the steps at half the batch, twice Muon's rate in float32 and 100 evaluations do not reach 95 %",
    ),
    Row(
        "R23",
        "responsible use",
        "members of lists withheld in every form, also where the screen breaks; below 0.1 % of 2,000 approved drugs "
        "withheld; no structure of them anywhere",
        tests=(
            "chem/filters/test_hazards.py",
            "screening/test_hazards.py",
            "generation/test_molecule_result.py::test_no_command_writes_what_is_withheld",
            "generation/test_molecule_result.py::test_a_gate_that_breaks_lets_nothing_through",
        ),
        measures=(hazards.measure_false_blocks, hazards.measure_approved_drugs),
    ),
    Row(
        "R24",
        "strength of the tests",
        "line coverage 90 %, branch 85 %, 95 % of mutants killed, 20 repeats without a flake",
        measures=(runs.measure_mutants, runs.measure_suite),
    ),
    Row(
        "R25",
        "install",
        "clean wheel at the lowest and newest versions, no network in tests, import below 3 s, no compiled extras, "
        "compromised versions excluded",
        tests=(
            "test_imports.py::test_starting_loads_nothing_heavy",
            "test_imports.py::test_help_takes_less_than_half_a_second",
        ),
        measures=(runs.measure_start, wheels.measure_wheels),
    ),
    Row(
        "R26",
        "supply chain",
        "lock file with hashes; card, hashes and canaries of every built-in model; verify passes",
        tests=(
            "test_house_rules.py::test_the_lock_file_holds_the_versions_of_the_constraints_each_with_hashes",
            "sampling/test_canaries.py::test_every_built_in_model_has_its_canaries",
            "sampling/test_canaries.py::test_each_way_to_differ_is_seen",
        ),
        measures=(runs.measure_verification,),
    ),
)
