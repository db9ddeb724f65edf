/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the commands do (cli.h says how): one source file per noun, commands.c has the table. */

#include "cli/cli.h"

int run_status(struct cli *c);
int run_network_list(struct cli *c);
int run_network_show(struct cli *c);
int run_network_add(struct cli *c);
int run_network_set(struct cli *c);
int run_network_remove(struct cli *c);
int run_network_attach(struct cli *c);
int run_network_detach(struct cli *c);
int run_route_add(struct cli *c);
int run_route_remove(struct cli *c);
int run_default(struct cli *c);
int run_assign(struct cli *c);
int run_unassign(struct cli *c);
int run_assignments(struct cli *c);
int run_apps(struct cli *c);
int run_run(struct cli *c);
int run_vpn_list(struct cli *c);
int run_vpn_show(struct cli *c);
int run_vpn_add(struct cli *c);
int run_vpn_set(struct cli *c);
int run_vpn_remove(struct cli *c);
int run_vpn_up(struct cli *c);
int run_vpn_down(struct cli *c);
int run_vpn_adopt(struct cli *c);
int run_vpn_import(struct cli *c);
int run_vpn_consent(struct cli *c);
int run_keystore_test(struct cli *c);
int run_keystore_get(struct cli *c);
int run_keystore_put(struct cli *c);
int run_keystore_rm(struct cli *c);
int run_keystore_list(struct cli *c);
int run_keystore_grant(struct cli *c);
int run_keystore_ungrant(struct cli *c);
int run_keystore_lock(struct cli *c);
int run_keystore_unlock(struct cli *c);
int run_keystore_password(struct cli *c);
int run_keystore_reset(struct cli *c);
int run_keystore_import(struct cli *c);
int run_explain(struct cli *c);
int run_verify(struct cli *c);
int run_doctor(struct cli *c);
int run_monitor(struct cli *c);
int run_reload(struct cli *c);
int run_panic_off(struct cli *c);
int run_help(struct cli *c);

void print_status(struct cli *c);
void print_networks(struct cli *c);
void print_network(struct cli *c);
void print_added_network(struct cli *c);
void print_default(struct cli *c);
void print_assignments(struct cli *c);
void print_apps(struct cli *c);
void print_vpns(struct cli *c);
void print_vpn(struct cli *c);
void print_added_vpn(struct cli *c);
void print_vpn_up(struct cli *c);
void print_vpn_import(struct cli *c);
void print_consents(struct cli *c);
void print_keystore_test(struct cli *c);
void print_keystore_list(struct cli *c);
void print_keystore_import(struct cli *c);
void print_explain(struct cli *c);
void print_verify(struct cli *c);
void print_doctor(struct cli *c);
void print_panic_off(struct cli *c);

/* What several commands show. */
extern const struct table networks_table, assignments_table;
void print_explanation(struct cli *c, const json_t *explanation);
