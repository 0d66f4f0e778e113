import Glibc
import TestSupport
import Testing

/// The finished programs with real packets, each scenario in a world of its own.
///
/// A scenario is a shell function of that name in `Tests/Scenarios`; the world it runs in, two hosts joined
/// by a cable, is described in `world.sh` there.
@Suite(.blocking(atOnce: 2), .enabled(if: geteuid() == 0, "needs root, to make network namespaces"))
struct SystemTests {
    @Test(arguments: [
        "the_kernel_opens_exactly_what_was_asked_and_closes_it_in_time",
        "a_closed_grant_is_closed_at_once",
        "an_extended_grant_ends_at_its_new_end",
        "two_grants_on_the_same_element_end_each_in_its_time",
        "policy_decides_who_may_ask",
        "requests_at_once_are_all_served",
    ])
    func grantsOpenAndEnd(scenario: String) throws { try play("scenario.sh", scenario) }

    @Test(arguments: [
        "everyone_connects_and_roles_decide", "nothing_opens_before_two_others_agree",
        "of_answers_at_once_one_counts", "nobody_approves_their_own_under_a_second_name",
        "who_waits_hears_of_the_answer_through_a_restart",
        "a_session_older_than_the_group_is_told_to_log_in_again",
        "strangers_connections_keep_nobody_out",
        "root_by_way_of_sudo_is_recorded_with_the_person",
    ])
    func peopleAreKnown(scenario: String) throws { try play("scenario.sh", scenario) }

    @Test(arguments: [
        "a_broken_policy_file_and_a_reboot_leave_the_ports_managed",
        "an_emptied_policy_folder_and_a_reboot_leave_the_ports_managed",
        "a_missing_configuration_and_a_reboot_leave_the_ports_managed",
        "an_unreadable_configuration_and_a_reboot_leave_the_ports_managed",
        "unreadable_from_the_first_the_ports_of_remote_access_are_closed",
        "nothing_is_armed_where_nothing_was_ever_configured",
        "a_session_outlives_the_reload_that_makes_its_port_managed",
        "a_policy_changed_by_command_is_in_its_file_and_in_force",
        "files_edited_while_the_agent_is_dead_are_told",
    ])
    func theConfigurationFails(scenario: String) throws { try play("scenario.sh", scenario) }

    @Test(arguments: [
        "policies_that_nobody_confirms_are_rolled_back",
        "policies_that_nobody_confirms_are_rolled_back_though_the_agent_dies",
        "confirmed_policies_stay",
        "a_change_that_closes_ones_own_ssh_session_is_refused",
        "a_disarmed_gate_stays_away_until_it_is_armed",
        "a_first_arming_that_nobody_confirms_comes_undone",
        "what_others_do_to_the_gate_is_undone_and_told",
        "a_gate_that_cannot_be_armed_opens_nothing_and_is_told",
        "break_glass_passes_are_told_also_those_while_the_agent_is_dead",
    ])
    func nobodyIsLockedOut(scenario: String) throws { try play("scenario.sh", scenario) }

    @Test(arguments: [
        "a_restart_has_no_open_and_no_closed_moment",
        "a_reload_under_load_changes_nothing",
        "nobody_else_can_take_the_gate_away",
        "a_killed_agent_leaves_the_port_closed_and_grants_expiring",
        "a_stopped_agent_leaves_the_port_closed",
        "a_gate_deleted_while_the_agent_was_dead_comes_back_with_its_grants",
        "a_second_agent_is_refused",
        "killed_under_load_what_was_answered_is_open_and_nothing_else",
        "killed_amid_a_thousand_operations_everything_agrees",
    ])
    func theAgentDiesAndComesBack(scenario: String) throws {
        try play("scenario.sh", scenario)
    }

    @Test(arguments: ["an_ssh_session_outlives_arming_expiry_and_restart"])
    func sessionsAreKept(scenario: String) throws { try play("scenario.sh", scenario) }

    @Test(arguments: [
        "an_ssh_session_ends_with_its_grant",
        "sessions_are_listed_and_cut_by_hand",
        "a_killed_agent_leaves_no_session_whose_grant_is_over",
        "sessions_to_a_published_port_end_with_their_grant",
        "datagrams_end_with_their_grant",
    ])
    func sessionsAreCut(scenario: String) throws { try play("scenario.sh", scenario) }

    @Test(arguments: [
        "a_full_disk_opens_nothing_and_recovers",
        "a_close_on_a_full_disk_outlives_a_stop",
        "a_close_on_a_full_disk_outlives_a_crash_and_a_start_on_it",
        "the_state_directory_is_deleted_while_the_agent_runs",
        "the_socket_file_is_deleted_while_the_agent_runs",
        "on_a_full_disk_everything_agrees",
        "lost_rows_are_told_and_their_ids_are_not_given_again",
        "a_read_only_disk_at_the_start_changes_nothing",
        "a_corrupt_ledger_is_told_and_left_alone",
    ])
    func theStateDirectoryFails(scenario: String) throws {
        try play("scenario.sh", scenario)
    }

    @Test(arguments: [
        "a_published_container_port_is_gated",
        "datagrams_and_fragments_are_gated",
        "the_hosts_own_connections_pass",
        "a_router_opens_one_host_behind_it",
    ])
    func packetsMeetTheGate(scenario: String) throws {
        try play("scenario.sh", scenario)
    }

    @Test(arguments: [
        "what_grants_let_in_is_kept_through_kills_and_ends", "who_is_refused_is_told",
        "the_figures_tell_what_happens",
    ])
    func theGateIsSeen(scenario: String) throws { try play("scenario.sh", scenario) }

    @Test(arguments: [
        "another_firewall_is_found_and_let_in_by_what_is_advised",
        "a_firewall_on_the_way_to_a_host_behind_is_found",
        "an_output_chain_that_keeps_the_answers_is_found",
        "a_way_past_the_number_is_judged_and_told",
        "what_listens_is_discovered_in_three_states",
    ])
    func theHostIsExamined(scenario: String) throws {
        try play("scenario.sh", scenario)
    }

    @Test func theUnitRunsUnderSystemd() throws { try play("systemd.sh") }
}

/// Runs a script of `Tests/Scenarios`; status 77 means that this machine cannot run it.
private func play(_ script: String, _ arguments: String...) throws {
    let scenarios = #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
    let path = "/\(scenarios)/Scenarios/\(script)"
    let limited = ["timeout", "--kill-after", "1", "120", "setpriv", "--pdeathsig", "KILL", path]
    let command = try limited + arguments + [builtPrograms()]
    let result = try shell(command)
    switch result.status {
    case 0: break
    case 77: Issue.record("not run: \(result.errors)", severity: .warning)
    default: Issue.record("status \(result.status)\n\(result.output)\n\(result.errors)")
    }
}
