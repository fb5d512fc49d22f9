BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0004');
CREATE TABLE artifact (
	sha256 VARCHAR(64) NOT NULL, 
	n_bytes INTEGER NOT NULL, 
	media_type VARCHAR(100) NOT NULL, 
	created_at DATETIME NOT NULL, 
	PRIMARY KEY (sha256)
);
INSERT INTO "artifact" VALUES('b6776a5e4ab488d8e9945941ab1495e02928868bde77e43e726cd2b48c60381b',9,'text/plain','2026-11-25 18:55:05.914455');
INSERT INTO "artifact" VALUES('969898fcb3237a1ae8fa44c8ba6a7d940fb654e67785c1dd3a56bb947a97837b',6,'text/plain','2026-11-25 18:55:05.914455');
INSERT INTO "artifact" VALUES('f248d7f0ef15401fcae840c1313198fb5a939468b91e3e13750f9f9cf5a88c76',14,'text/plain','2026-11-25 18:55:05.914455');
INSERT INTO "artifact" VALUES('26b93b26b3a335562521d83b85f7ba4bcbca01987eb3edb890bc7d9b2d5f3d2b',15,'text/plain','2026-11-25 18:55:05.914455');
INSERT INTO "artifact" VALUES('4523121803cbb8e7615c23d4d7d964a158272f54749f984417cc3418510bfddc',17,'text/plain','2026-11-25 18:55:05.914455');
INSERT INTO "artifact" VALUES('329a1ed9204c009721a410f2314a83a68e35820c6a9392940b81bd58da3188f6',11,'text/plain','2026-11-25 18:55:05.914455');
INSERT INTO "artifact" VALUES('8040cdcb0520b361091636bc900f2713b2f4aa64bd40adec22ba0ce7726e4110',522,'text/plain','2026-11-25 18:55:06.923853');
INSERT INTO "artifact" VALUES('d97debff0072b76002bdf15644d21a5af7ba51288d4370f7c5fec71449f2a361',518,'text/plain','2026-11-25 18:55:06.923853');
INSERT INTO "artifact" VALUES('0d811dc2805475606fd1cdd607f0ae0b419c8b759aee6da67d4ad32df8b093cc',521,'text/plain','2026-11-25 18:55:06.923853');
INSERT INTO "artifact" VALUES('953657cd9a0f465caca281a6f368aa5c4c377854eb7e4990b5ffe23e7a23f473',527,'text/plain','2026-11-25 18:55:06.923853');
INSERT INTO "artifact" VALUES('399e20814ca3cda7ad90bc04ecf658c39d4fb39f5b9939823303b8539dbcb447',544,'text/plain','2026-11-25 18:55:07.241307');
INSERT INTO "artifact" VALUES('844605190373b27f96bacc0734779fe50f9db9a8021db0824cbcde7ed266dd32',540,'text/plain','2026-11-25 18:55:07.241307');
INSERT INTO "artifact" VALUES('602c30005bc501646828d787f4a225465b1e0f7af316d4b81aa6adb7d276d0ea',543,'text/plain','2026-11-25 18:55:07.241307');
INSERT INTO "artifact" VALUES('ea239e6cba60584e540d9d4c0588254cb3f79d8bbe127aff2367e1fbb0e8fbae',549,'text/plain','2026-11-25 18:55:07.241307');
CREATE TABLE attempt (
	id VARCHAR(32) NOT NULL, 
	stage_id VARCHAR(32) NOT NULL, 
	number INTEGER NOT NULL, 
	token VARCHAR(64) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	holder VARCHAR(200) NOT NULL, 
	expires_at DATETIME, 
	failure JSON, 
	started_at DATETIME NOT NULL, 
	finished_at DATETIME, 
	PRIMARY KEY (id), 
	FOREIGN KEY(stage_id) REFERENCES stage (id), 
	UNIQUE (stage_id, number)
);
INSERT INTO "attempt" VALUES('lse_930267f22bf32ab0','job_26ff6d80de02073e',1,'7QEIRqC5EHTCsGNKlgjIOKB9','succeeded','scripted compute',NULL,NULL,'2026-11-25 18:55:05.914455','2026-11-25 18:55:05.914455');
INSERT INTO "attempt" VALUES('lse_44d336c4b7613b12','job_7184c59d220f9bfd',1,'qqWnvjwBaUObNZZbWGJYxYcw','succeeded','dev_1baa27246719eb81','2026-11-25 18:55:36.447165',NULL,'2026-11-25 18:55:06.447165','2026-11-25 18:55:06.536213');
INSERT INTO "attempt" VALUES('lse_c3f260530bf3fb6c','job_1d6ea35f0a341522',1,'E8daxZkXg6u5m7MKO3fGLuxi','succeeded','scripted compute',NULL,NULL,'2026-11-25 18:55:06.923853','2026-11-25 18:55:06.923853');
INSERT INTO "attempt" VALUES('lse_aceb081ec3e3db62','job_e00fce5415fbf32b',1,'QpZ4p5C9TiupnKgSijf1Alsu','succeeded','dev_1baa27246719eb81','2026-11-25 18:55:37.030212',NULL,'2026-11-25 18:55:07.030212','2026-11-25 18:55:07.072903');
INSERT INTO "attempt" VALUES('lse_1bfc943b5b72d015','job_e43dff45d7a8ec2d',1,'T8uskFWc1dZItl3NQPbdADh0','succeeded','scripted compute',NULL,NULL,'2026-11-25 18:55:07.241307','2026-11-25 18:55:07.241307');
INSERT INTO "attempt" VALUES('lse_39caf3c6ecd2927c','job_cae4de6ae0d515b8',1,'yrfM2B8JJtVZTopXIvzffvHe','succeeded','dev_1baa27246719eb81','2026-11-25 18:55:37.321906',NULL,'2026-11-25 18:55:07.321906','2026-11-25 18:55:07.352475');
INSERT INTO "attempt" VALUES('lse_75e386d1f5b5bf5e','job_b6dec47f8985fa36',1,'DsRsU_QxKkYgjSJCDMo_B2Vd','succeeded','dev_1baa27246719eb81','2026-11-25 18:55:37.433871',NULL,'2026-11-25 18:55:07.433871','2026-11-25 18:55:07.507009');
CREATE TABLE baseline (
	id VARCHAR(32) NOT NULL, 
	model VARCHAR(100) NOT NULL, 
	dataset VARCHAR(100) NOT NULL, 
	recipe JSON NOT NULL, 
	seed INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	progress JSON NOT NULL, 
	metrics JSON NOT NULL, 
	error TEXT, 
	artifacts JSON NOT NULL, 
	details JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	started_at DATETIME, 
	finished_at DATETIME, 
	PRIMARY KEY (id)
);
INSERT INTO "baseline" VALUES('bsl_3007bc17c4a6e72e','resnet20_cifar','digits','{}',0,'complete','{}','{"validation_top1": 0.98, "test_top1": 0.97, "params": 270000, "macs": 40000000, "onnx_bytes": 1100000}',NULL,'{"weights": "b6776a5e4ab488d8e9945941ab1495e02928868bde77e43e726cd2b48c60381b", "onnx": "969898fcb3237a1ae8fa44c8ba6a7d940fb654e67785c1dd3a56bb947a97837b", "probe_inputs": "f248d7f0ef15401fcae840c1313198fb5a939468b91e3e13750f9f9cf5a88c76", "probe_outputs": "26b93b26b3a335562521d83b85f7ba4bcbca01987eb3edb890bc7d9b2d5f3d2b", "data_validation": "4523121803cbb8e7615c23d4d7d964a158272f54749f984417cc3418510bfddc", "data_test": "329a1ed9204c009721a410f2314a83a68e35820c6a9392940b81bd58da3188f6"}','{}','2026-11-25 18:55:05.872684','2026-11-25 18:55:05.914455','2026-11-25 18:55:05.914455');
CREATE TABLE delivery (
	id INTEGER NOT NULL, 
	webhook_id VARCHAR(32) NOT NULL, 
	event_id INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	n_tries INTEGER NOT NULL, 
	next_at DATETIME NOT NULL, 
	status INTEGER, 
	error TEXT, 
	created_at DATETIME NOT NULL, 
	finished_at DATETIME, 
	PRIMARY KEY (id), 
	FOREIGN KEY(event_id) REFERENCES event (id), 
	FOREIGN KEY(webhook_id) REFERENCES webhook (id), 
	UNIQUE (webhook_id, event_id)
);
INSERT INTO "delivery" VALUES(1,'whk_0123456789abcdef',53,'done',1,'2026-11-26 03:00:01.000000',200,NULL,'2026-11-26 03:00:00.000000','2026-11-26 03:00:01.000000');
CREATE TABLE device (
	id VARCHAR(32) NOT NULL, 
	worker_id VARCHAR(32) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	kind VARCHAR(50) NOT NULL, 
	info JSON NOT NULL, 
	last_seen_at DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(worker_id) REFERENCES worker (id), 
	UNIQUE (worker_id, name)
);
INSERT INTO "device" VALUES('dev_1baa27246719eb81','wrk_487e9f45888d20fa','CPU','CPU','{"name": "CPU", "kind": "CPU", "full_name": "A device", "runtime": "openvino", "runtime_version": "2026.0.0", "precisions": ["f32"], "max_opset": 21, "host": "edge-1", "capabilities": ["benchmark"]}','2026-11-25 18:55:07.433871');
CREATE TABLE driver (
	id INTEGER NOT NULL, 
	epoch INTEGER NOT NULL, 
	holder VARCHAR(200), 
	until DATETIME, 
	installation VARCHAR(32) NOT NULL, 
	is_store_marked BOOLEAN NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "driver" VALUES(1,3,'edge:1234','2026-11-26 06:00:00.000000','ins_0123456789abcdef',1);
CREATE TABLE event (
	id INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	study_id VARCHAR(32), 
	subject VARCHAR(32) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	who VARCHAR(200) NOT NULL, 
	"before" VARCHAR(32), 
	"after" VARCHAR(32), 
	reason TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO "event" VALUES(1,'2026-11-25 18:55:05.872684',NULL,'bsl_3007bc17c4a6e72e','state','user',NULL,'queued',NULL);
INSERT INTO "event" VALUES(2,'2026-11-25 18:55:05.872684',NULL,'job_26ff6d80de02073e','stage','server',NULL,'waiting','train');
INSERT INTO "event" VALUES(3,'2026-11-25 18:55:05.914455',NULL,'job_26ff6d80de02073e','stage','scripted compute','waiting','running',NULL);
INSERT INTO "event" VALUES(4,'2026-11-25 18:55:05.914455',NULL,'lse_930267f22bf32ab0','attempt','scripted compute',NULL,'running','train, attempt 1');
INSERT INTO "event" VALUES(5,'2026-11-25 18:55:05.914455',NULL,'bsl_3007bc17c4a6e72e','state','scripted compute','queued','training',NULL);
INSERT INTO "event" VALUES(6,'2026-11-25 18:55:05.914455',NULL,'lse_930267f22bf32ab0','attempt','scripted compute','running','succeeded',NULL);
INSERT INTO "event" VALUES(7,'2026-11-25 18:55:05.914455',NULL,'job_26ff6d80de02073e','stage','scripted compute','running','done',NULL);
INSERT INTO "event" VALUES(8,'2026-11-25 18:55:05.914455',NULL,'bsl_3007bc17c4a6e72e','state','server','training','complete',NULL);
INSERT INTO "event" VALUES(9,'2026-11-25 18:55:06.205658','std_aa607985919fb06d','std_aa607985919fb06d','state','user',NULL,'checking',NULL);
INSERT INTO "event" VALUES(10,'2026-11-25 18:55:06.205658','std_aa607985919fb06d','job_7184c59d220f9bfd','stage','server',NULL,'waiting','check');
INSERT INTO "event" VALUES(11,'2026-11-25 18:55:06.447165','std_aa607985919fb06d','job_7184c59d220f9bfd','stage','dev_1baa27246719eb81','waiting','running',NULL);
INSERT INTO "event" VALUES(12,'2026-11-25 18:55:06.447165','std_aa607985919fb06d','lse_44d336c4b7613b12','attempt','dev_1baa27246719eb81',NULL,'running','check, attempt 1');
INSERT INTO "event" VALUES(13,'2026-11-25 18:55:06.536213','std_aa607985919fb06d','lse_44d336c4b7613b12','attempt','dev_1baa27246719eb81','running','succeeded',NULL);
INSERT INTO "event" VALUES(14,'2026-11-25 18:55:06.536213','std_aa607985919fb06d','job_7184c59d220f9bfd','stage','dev_1baa27246719eb81','running','done',NULL);
INSERT INTO "event" VALUES(15,'2026-11-25 18:55:06.536213','std_aa607985919fb06d','std_aa607985919fb06d','state','server','checking','running',NULL);
INSERT INTO "event" VALUES(16,'2026-11-25 18:55:06.726270','std_aa607985919fb06d','trl_77954cb73c11ce90','state','driver',NULL,'queued','initial');
INSERT INTO "event" VALUES(17,'2026-11-25 18:55:06.726270','std_aa607985919fb06d','job_1d6ea35f0a341522','stage','server',NULL,'waiting','compress');
INSERT INTO "event" VALUES(18,'2026-11-25 18:55:06.923853','std_aa607985919fb06d','job_1d6ea35f0a341522','stage','scripted compute','waiting','running',NULL);
INSERT INTO "event" VALUES(19,'2026-11-25 18:55:06.923853','std_aa607985919fb06d','lse_c3f260530bf3fb6c','attempt','scripted compute',NULL,'running','compress, attempt 1');
INSERT INTO "event" VALUES(20,'2026-11-25 18:55:06.923853','std_aa607985919fb06d','trl_77954cb73c11ce90','state','scripted compute','queued','compressing',NULL);
INSERT INTO "event" VALUES(21,'2026-11-25 18:55:06.923853','std_aa607985919fb06d','lse_c3f260530bf3fb6c','attempt','scripted compute','running','succeeded',NULL);
INSERT INTO "event" VALUES(22,'2026-11-25 18:55:06.923853','std_aa607985919fb06d','job_1d6ea35f0a341522','stage','scripted compute','running','done',NULL);
INSERT INTO "event" VALUES(23,'2026-11-25 18:55:06.923853','std_aa607985919fb06d','trl_77954cb73c11ce90','state','server','compressing','compressed',NULL);
INSERT INTO "event" VALUES(24,'2026-11-25 18:55:06.923853','std_aa607985919fb06d','job_e00fce5415fbf32b','stage','server',NULL,'waiting','benchmark');
INSERT INTO "event" VALUES(25,'2026-11-25 18:55:07.030212','std_aa607985919fb06d','job_e00fce5415fbf32b','stage','dev_1baa27246719eb81','waiting','running',NULL);
INSERT INTO "event" VALUES(26,'2026-11-25 18:55:07.030212','std_aa607985919fb06d','lse_aceb081ec3e3db62','attempt','dev_1baa27246719eb81',NULL,'running','benchmark, attempt 1');
INSERT INTO "event" VALUES(27,'2026-11-25 18:55:07.030212','std_aa607985919fb06d','trl_77954cb73c11ce90','state','dev_1baa27246719eb81','compressed','benchmarking',NULL);
INSERT INTO "event" VALUES(28,'2026-11-25 18:55:07.072903','std_aa607985919fb06d','lse_aceb081ec3e3db62','attempt','dev_1baa27246719eb81','running','succeeded',NULL);
INSERT INTO "event" VALUES(29,'2026-11-25 18:55:07.072903','std_aa607985919fb06d','job_e00fce5415fbf32b','stage','dev_1baa27246719eb81','running','done',NULL);
INSERT INTO "event" VALUES(30,'2026-11-25 18:55:07.072903','std_aa607985919fb06d','trl_77954cb73c11ce90','state','server','benchmarking','complete',NULL);
INSERT INTO "event" VALUES(31,'2026-11-25 18:55:07.072903','std_aa607985919fb06d','std_aa607985919fb06d','incumbent','server',NULL,'trl_77954cb73c11ce90','latency_ratio 0.8');
INSERT INTO "event" VALUES(32,'2026-11-25 18:55:07.134300','std_aa607985919fb06d','trl_c555e724b40f05c1','state','driver',NULL,'queued','initial');
INSERT INTO "event" VALUES(33,'2026-11-25 18:55:07.134300','std_aa607985919fb06d','job_e43dff45d7a8ec2d','stage','server',NULL,'waiting','compress');
INSERT INTO "event" VALUES(34,'2026-11-25 18:55:07.241307','std_aa607985919fb06d','job_e43dff45d7a8ec2d','stage','scripted compute','waiting','running',NULL);
INSERT INTO "event" VALUES(35,'2026-11-25 18:55:07.241307','std_aa607985919fb06d','lse_1bfc943b5b72d015','attempt','scripted compute',NULL,'running','compress, attempt 1');
INSERT INTO "event" VALUES(36,'2026-11-25 18:55:07.241307','std_aa607985919fb06d','trl_c555e724b40f05c1','state','scripted compute','queued','compressing',NULL);
INSERT INTO "event" VALUES(37,'2026-11-25 18:55:07.241307','std_aa607985919fb06d','lse_1bfc943b5b72d015','attempt','scripted compute','running','succeeded',NULL);
INSERT INTO "event" VALUES(38,'2026-11-25 18:55:07.241307','std_aa607985919fb06d','job_e43dff45d7a8ec2d','stage','scripted compute','running','done',NULL);
INSERT INTO "event" VALUES(39,'2026-11-25 18:55:07.241307','std_aa607985919fb06d','trl_c555e724b40f05c1','state','server','compressing','compressed',NULL);
INSERT INTO "event" VALUES(40,'2026-11-25 18:55:07.241307','std_aa607985919fb06d','job_cae4de6ae0d515b8','stage','server',NULL,'waiting','benchmark');
INSERT INTO "event" VALUES(41,'2026-11-25 18:55:07.321906','std_aa607985919fb06d','job_cae4de6ae0d515b8','stage','dev_1baa27246719eb81','waiting','running',NULL);
INSERT INTO "event" VALUES(42,'2026-11-25 18:55:07.321906','std_aa607985919fb06d','lse_39caf3c6ecd2927c','attempt','dev_1baa27246719eb81',NULL,'running','benchmark, attempt 1');
INSERT INTO "event" VALUES(43,'2026-11-25 18:55:07.321906','std_aa607985919fb06d','trl_c555e724b40f05c1','state','dev_1baa27246719eb81','compressed','benchmarking',NULL);
INSERT INTO "event" VALUES(44,'2026-11-25 18:55:07.352475','std_aa607985919fb06d','lse_39caf3c6ecd2927c','attempt','dev_1baa27246719eb81','running','succeeded',NULL);
INSERT INTO "event" VALUES(45,'2026-11-25 18:55:07.352475','std_aa607985919fb06d','job_cae4de6ae0d515b8','stage','dev_1baa27246719eb81','running','done',NULL);
INSERT INTO "event" VALUES(46,'2026-11-25 18:55:07.352475','std_aa607985919fb06d','trl_c555e724b40f05c1','state','server','benchmarking','complete',NULL);
INSERT INTO "event" VALUES(47,'2026-11-25 18:55:07.398158','std_aa607985919fb06d','job_b6dec47f8985fa36','stage','server',NULL,'waiting','final');
INSERT INTO "event" VALUES(48,'2026-11-25 18:55:07.433871','std_aa607985919fb06d','job_b6dec47f8985fa36','stage','dev_1baa27246719eb81','waiting','running',NULL);
INSERT INTO "event" VALUES(49,'2026-11-25 18:55:07.433871','std_aa607985919fb06d','lse_75e386d1f5b5bf5e','attempt','dev_1baa27246719eb81',NULL,'running','final, attempt 1');
INSERT INTO "event" VALUES(50,'2026-11-25 18:55:07.507009','std_aa607985919fb06d','lse_75e386d1f5b5bf5e','attempt','dev_1baa27246719eb81','running','succeeded',NULL);
INSERT INTO "event" VALUES(51,'2026-11-25 18:55:07.507009','std_aa607985919fb06d','job_b6dec47f8985fa36','stage','dev_1baa27246719eb81','running','done',NULL);
INSERT INTO "event" VALUES(52,'2026-11-25 18:55:07.507009','std_aa607985919fb06d','std_aa607985919fb06d','state','server','running','finished',NULL);
INSERT INTO "event" VALUES(53,'2026-11-25 21:41:47.658191',NULL,'tok_775fe1eb33487333','token','user',NULL,'live','anna: write');
CREATE TABLE experiment (
	id VARCHAR(32) NOT NULL, 
	stage VARCHAR(16) NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	subject_id VARCHAR(32), 
	spec JSON NOT NULL, 
	cases JSON NOT NULL, 
	notes JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "experiment" VALUES('exp_0123456789abcdef','sensitivity','one','bsl_0','{}','[]','[]','2026-11-26 03:00:00.000000');
CREATE TABLE measurement (
	id INTEGER NOT NULL, 
	stage_id VARCHAR(32) NOT NULL, 
	attempt_id VARCHAR(32) NOT NULL, 
	study_id VARCHAR(32) NOT NULL, 
	trial_id VARCHAR(32), 
	device_id VARCHAR(32) NOT NULL, 
	purpose VARCHAR(16) NOT NULL, 
	split VARCHAR(16) NOT NULL, 
	at DATETIME NOT NULL, 
	metrics JSON NOT NULL, 
	result JSON NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(attempt_id) REFERENCES attempt (id), 
	FOREIGN KEY(stage_id) REFERENCES stage (id), 
	FOREIGN KEY(study_id) REFERENCES study (id), 
	FOREIGN KEY(trial_id) REFERENCES trial (id)
);
INSERT INTO "measurement" VALUES(1,'job_7184c59d220f9bfd','lse_44d336c4b7613b12','std_aa607985919fb06d',NULL,'dev_1baa27246719eb81','check','validation','2026-11-25 18:55:06.536213','{"latency_p50_ms": 1.6, "latency_p95_ms": 1.6, "throughput_per_s": 625.0, "latency_ratio": 0.8, "latency_ratio_low": 0.792, "latency_ratio_high": 0.808, "aa_ratio": 1.0, "top1": 0.98, "top5": 1.0, "top1_drop": 0.0}','{"candidate": {"p25_ms": 1.6, "p50_ms": 1.6, "p90_ms": 1.6, "p95_ms": 1.6, "p99_ms": 1.6, "mean_ms": 1.6, "sd_ms": 0.1, "cpu_p50_ms": 1.6, "n_runs": 200, "throughput_per_s": 625.0}, "baseline": {"p25_ms": 2.0, "p50_ms": 2.0, "p90_ms": 2.0, "p95_ms": 2.0, "p99_ms": 2.0, "mean_ms": 2.0, "sd_ms": 0.1, "cpu_p50_ms": 2.0, "n_runs": 200, "throughput_per_s": 500.0}, "latency_ratio": 0.8, "latency_ratio_low": 0.792, "latency_ratio_high": 0.808, "is_distinguishable": true, "aa_ratio": 1.0, "is_gate_passed": true, "n_attempts": 1, "accuracy": {"candidate": {"n_images": 300, "top1_correct": 294, "top5_correct": 300}, "baseline": {"n_images": 300, "top1_correct": 294, "top5_correct": 300}, "n_disagree_candidate_only": 0, "n_disagree_baseline_only": 0}, "agreement": {"candidate": {"max_abs": 1e-05, "max_rel": 0.0001, "top1_agreement": 1.0}, "baseline": {"max_abs": 1e-05, "max_rel": 0.0001, "top1_agreement": 1.0}}, "layers": [{"layer": "conv1", "type": "Convolution", "candidate_ms": 0.1, "baseline_ms": 0.2}], "host": {"cpu_model": "A processor", "n_cpus": 2, "load_1m": 0.1, "runtime": "openvino", "runtime_version": "2026.0.0", "temperature_c": null, "n_threads": 0}, "duration_s": 1.0, "flags": [], "survival": []}');
INSERT INTO "measurement" VALUES(2,'job_e00fce5415fbf32b','lse_aceb081ec3e3db62','std_aa607985919fb06d','trl_77954cb73c11ce90','dev_1baa27246719eb81','trial','validation','2026-11-25 18:55:07.072903','{"latency_p50_ms": 1.6, "latency_p95_ms": 1.6, "throughput_per_s": 625.0, "latency_ratio": 0.8, "latency_ratio_low": 0.792, "latency_ratio_high": 0.808, "aa_ratio": 1.0, "top1": 0.98, "top5": 1.0, "top1_drop": 0.0}','{"candidate": {"p25_ms": 1.6, "p50_ms": 1.6, "p90_ms": 1.6, "p95_ms": 1.6, "p99_ms": 1.6, "mean_ms": 1.6, "sd_ms": 0.1, "cpu_p50_ms": 1.6, "n_runs": 200, "throughput_per_s": 625.0}, "baseline": {"p25_ms": 2.0, "p50_ms": 2.0, "p90_ms": 2.0, "p95_ms": 2.0, "p99_ms": 2.0, "mean_ms": 2.0, "sd_ms": 0.1, "cpu_p50_ms": 2.0, "n_runs": 200, "throughput_per_s": 500.0}, "latency_ratio": 0.8, "latency_ratio_low": 0.792, "latency_ratio_high": 0.808, "is_distinguishable": true, "aa_ratio": 1.0, "is_gate_passed": true, "n_attempts": 1, "accuracy": {"candidate": {"n_images": 300, "top1_correct": 294, "top5_correct": 300}, "baseline": {"n_images": 300, "top1_correct": 294, "top5_correct": 300}, "n_disagree_candidate_only": 0, "n_disagree_baseline_only": 0}, "agreement": {"candidate": {"max_abs": 1e-05, "max_rel": 0.0001, "top1_agreement": 1.0}, "baseline": {"max_abs": 1e-05, "max_rel": 0.0001, "top1_agreement": 1.0}}, "layers": [{"layer": "conv1", "type": "Convolution", "candidate_ms": 0.1, "baseline_ms": 0.2}], "host": {"cpu_model": "A processor", "n_cpus": 2, "load_1m": 0.1, "runtime": "openvino", "runtime_version": "2026.0.0", "temperature_c": null, "n_threads": 0}, "duration_s": 1.0, "flags": [], "survival": []}');
INSERT INTO "measurement" VALUES(3,'job_cae4de6ae0d515b8','lse_39caf3c6ecd2927c','std_aa607985919fb06d','trl_c555e724b40f05c1','dev_1baa27246719eb81','trial','validation','2026-11-25 18:55:07.352475','{"latency_p50_ms": 1.6, "latency_p95_ms": 1.6, "throughput_per_s": 625.0, "latency_ratio": 0.8, "latency_ratio_low": 0.792, "latency_ratio_high": 0.808, "aa_ratio": 1.0, "top1": 0.98, "top5": 1.0, "top1_drop": 0.0}','{"candidate": {"p25_ms": 1.6, "p50_ms": 1.6, "p90_ms": 1.6, "p95_ms": 1.6, "p99_ms": 1.6, "mean_ms": 1.6, "sd_ms": 0.1, "cpu_p50_ms": 1.6, "n_runs": 200, "throughput_per_s": 625.0}, "baseline": {"p25_ms": 2.0, "p50_ms": 2.0, "p90_ms": 2.0, "p95_ms": 2.0, "p99_ms": 2.0, "mean_ms": 2.0, "sd_ms": 0.1, "cpu_p50_ms": 2.0, "n_runs": 200, "throughput_per_s": 500.0}, "latency_ratio": 0.8, "latency_ratio_low": 0.792, "latency_ratio_high": 0.808, "is_distinguishable": true, "aa_ratio": 1.0, "is_gate_passed": true, "n_attempts": 1, "accuracy": {"candidate": {"n_images": 300, "top1_correct": 294, "top5_correct": 300}, "baseline": {"n_images": 300, "top1_correct": 294, "top5_correct": 300}, "n_disagree_candidate_only": 0, "n_disagree_baseline_only": 0}, "agreement": {"candidate": {"max_abs": 1e-05, "max_rel": 0.0001, "top1_agreement": 1.0}, "baseline": {"max_abs": 1e-05, "max_rel": 0.0001, "top1_agreement": 1.0}}, "layers": [{"layer": "conv1", "type": "Convolution", "candidate_ms": 0.1, "baseline_ms": 0.2}], "host": {"cpu_model": "A processor", "n_cpus": 2, "load_1m": 0.1, "runtime": "openvino", "runtime_version": "2026.0.0", "temperature_c": null, "n_threads": 0}, "duration_s": 1.0, "flags": [], "survival": []}');
INSERT INTO "measurement" VALUES(4,'job_b6dec47f8985fa36','lse_75e386d1f5b5bf5e','std_aa607985919fb06d','trl_77954cb73c11ce90','dev_1baa27246719eb81','final','test','2026-11-25 18:55:07.507009','{"latency_p50_ms": 1.6, "latency_p95_ms": 1.6, "throughput_per_s": 625.0, "latency_ratio": 0.8, "latency_ratio_low": 0.792, "latency_ratio_high": 0.808, "aa_ratio": 1.0, "top1": 0.98, "top5": 1.0, "top1_drop": 0.0}','{"candidate": {"p25_ms": 1.6, "p50_ms": 1.6, "p90_ms": 1.6, "p95_ms": 1.6, "p99_ms": 1.6, "mean_ms": 1.6, "sd_ms": 0.1, "cpu_p50_ms": 1.6, "n_runs": 200, "throughput_per_s": 625.0}, "baseline": {"p25_ms": 2.0, "p50_ms": 2.0, "p90_ms": 2.0, "p95_ms": 2.0, "p99_ms": 2.0, "mean_ms": 2.0, "sd_ms": 0.1, "cpu_p50_ms": 2.0, "n_runs": 200, "throughput_per_s": 500.0}, "latency_ratio": 0.8, "latency_ratio_low": 0.792, "latency_ratio_high": 0.808, "is_distinguishable": true, "aa_ratio": 1.0, "is_gate_passed": true, "n_attempts": 1, "accuracy": {"candidate": {"n_images": 300, "top1_correct": 294, "top5_correct": 300}, "baseline": {"n_images": 300, "top1_correct": 294, "top5_correct": 300}, "n_disagree_candidate_only": 0, "n_disagree_baseline_only": 0}, "agreement": {"candidate": {"max_abs": 1e-05, "max_rel": 0.0001, "top1_agreement": 1.0}, "baseline": {"max_abs": 1e-05, "max_rel": 0.0001, "top1_agreement": 1.0}}, "layers": [{"layer": "conv1", "type": "Convolution", "candidate_ms": 0.1, "baseline_ms": 0.2}], "host": {"cpu_model": "A processor", "n_cpus": 2, "load_1m": 0.1, "runtime": "openvino", "runtime_version": "2026.0.0", "temperature_c": null, "n_threads": 0}, "duration_s": 1.0, "flags": [], "survival": []}');
CREATE TABLE request_key (
	caller VARCHAR(200) NOT NULL, 
	"key" VARCHAR(200) NOT NULL, 
	fingerprint VARCHAR(64) NOT NULL, 
	subject VARCHAR(32) NOT NULL, 
	created_at DATETIME NOT NULL, subjects JSON, 
	PRIMARY KEY (caller, "key")
);
INSERT INTO "request_key" VALUES('anna','a key','0000000000000000000000000000000000000000000000000000000000000000','std_aa607985919fb06d','2026-11-25 21:41:47.695799',NULL);
CREATE TABLE stage (
	id VARCHAR(32) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	lane VARCHAR(16) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	baseline_id VARCHAR(32), 
	study_id VARCHAR(32), 
	trial_id VARCHAR(32), 
	device VARCHAR(100), 
	"order" JSON NOT NULL, 
	n_spent INTEGER NOT NULL, 
	failure JSON, 
	available_at DATETIME NOT NULL, 
	created_at DATETIME NOT NULL, 
	finished_at DATETIME, priority INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(baseline_id) REFERENCES baseline (id), 
	FOREIGN KEY(study_id) REFERENCES study (id), 
	FOREIGN KEY(trial_id) REFERENCES trial (id)
);
INSERT INTO "stage" VALUES('job_26ff6d80de02073e','train','compute','done','bsl_3007bc17c4a6e72e',NULL,NULL,NULL,'{"model": "resnet20_cifar", "dataset": "digits", "recipe": {}, "seed": 0}',0,NULL,'2026-11-25 18:55:05.872684','2026-11-25 18:55:05.872684','2026-11-25 18:55:05.914455',0);
INSERT INTO "stage" VALUES('job_7184c59d220f9bfd','check','device','done',NULL,'std_aa607985919fb06d',NULL,'CPU','{"split": "validation", "settings": {"target_interval": null, "time_limit_s": null, "n_compilations": null, "max_aa_deviation": null, "n_threads": null, "max_output_error": null, "job_limit_s": null}}',0,NULL,'2026-11-25 18:55:06.205658','2026-11-25 18:55:06.205658','2026-11-25 18:55:06.536213',0);
INSERT INTO "stage" VALUES('job_1d6ea35f0a341522','compress','compute','done',NULL,'std_aa607985919fb06d','trl_77954cb73c11ce90',NULL,'{"model": "resnet20_cifar", "dataset": "digits", "weights": "b6776a5e4ab488d8e9945941ab1495e02928868bde77e43e726cd2b48c60381b", "schedule": {"version": 1, "pruners": {"filters": {"class": "L1RankedStructureParameterPruner_AGP", "group_type": "Filters", "initial_sparsity": 0.05, "final_sparsity": 0.3, "weights": ["layer1.0.conv1.weight"]}}, "policies": [{"pruner": {"instance_name": "filters"}, "starting_epoch": 0, "ending_epoch": 3, "frequency": 1}]}, "training": {"epochs": 4, "lr": 0.01}, "seed": 1446583109}',0,NULL,'2026-11-25 18:55:06.726270','2026-11-25 18:55:06.726270','2026-11-25 18:55:06.923853',0);
INSERT INTO "stage" VALUES('job_e00fce5415fbf32b','benchmark','device','done',NULL,'std_aa607985919fb06d','trl_77954cb73c11ce90','CPU','{"split": "validation", "settings": {"target_interval": null, "time_limit_s": null, "n_compilations": null, "max_aa_deviation": null, "n_threads": null, "max_output_error": null, "job_limit_s": null}}',0,NULL,'2026-11-25 18:55:06.923853','2026-11-25 18:55:06.923853','2026-11-25 18:55:07.072903',0);
INSERT INTO "stage" VALUES('job_e43dff45d7a8ec2d','compress','compute','done',NULL,'std_aa607985919fb06d','trl_c555e724b40f05c1',NULL,'{"model": "resnet20_cifar", "dataset": "digits", "weights": "b6776a5e4ab488d8e9945941ab1495e02928868bde77e43e726cd2b48c60381b", "schedule": {"version": 1, "pruners": {"filters": {"class": "L1RankedStructureParameterPruner_AGP", "group_type": "Filters", "initial_sparsity": 0.05, "final_sparsity": 0.767462333797, "weights": ["layer1.0.conv1.weight"]}}, "policies": [{"pruner": {"instance_name": "filters"}, "starting_epoch": 0, "ending_epoch": 3, "frequency": 1}]}, "training": {"epochs": 4, "lr": 0.0030212166398}, "seed": 2005510037}',0,NULL,'2026-11-25 18:55:07.134300','2026-11-25 18:55:07.134300','2026-11-25 18:55:07.241307',0);
INSERT INTO "stage" VALUES('job_cae4de6ae0d515b8','benchmark','device','done',NULL,'std_aa607985919fb06d','trl_c555e724b40f05c1','CPU','{"split": "validation", "settings": {"target_interval": null, "time_limit_s": null, "n_compilations": null, "max_aa_deviation": null, "n_threads": null, "max_output_error": null, "job_limit_s": null}}',0,NULL,'2026-11-25 18:55:07.241307','2026-11-25 18:55:07.241307','2026-11-25 18:55:07.352475',0);
INSERT INTO "stage" VALUES('job_b6dec47f8985fa36','final','device','done',NULL,'std_aa607985919fb06d','trl_77954cb73c11ce90','CPU','{"split": "test", "settings": {"target_interval": null, "time_limit_s": null, "n_compilations": null, "max_aa_deviation": null, "n_threads": null, "max_output_error": null, "job_limit_s": null}}',0,NULL,'2026-11-25 18:55:07.398158','2026-11-25 18:55:07.398158','2026-11-25 18:55:07.507009',0);
CREATE TABLE "study" (
	id VARCHAR(32) NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	reason TEXT, 
	baseline_id VARCHAR(32), 
	spec JSON NOT NULL, 
	problem JSON NOT NULL, 
	baseline_measurement JSON, 
	incumbent_id VARCHAR(32), 
	final JSON, 
	failures_from INTEGER NOT NULL, 
	created_at DATETIME NOT NULL, 
	started_at DATETIME, 
	finished_at DATETIME, 
	priority INTEGER DEFAULT '0' NOT NULL, 
	experiment_id VARCHAR(32), 
	revision INTEGER NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(baseline_id) REFERENCES baseline (id)
);
INSERT INTO "study" VALUES('std_aa607985919fb06d','digits','finished',NULL,'bsl_3007bc17c4a6e72e','{"name": "digits", "baseline": "bsl_3007bc17c4a6e72e", "device": "CPU", "template": "version: 1\npruners:\n  filters:\n    class: L1RankedStructureParameterPruner_AGP\n    group_type: Filters\n    initial_sparsity: 0.05\n    final_sparsity: !float {low: 0.1, high: 0.8, default: 0.3}\n    weights: [layer1.0.conv1.weight]\npolicies:\n  - pruner: {instance_name: filters}\n    starting_epoch: 0\n    ending_epoch: 3\n    frequency: 1\n", "training": "epochs: 4\nlr: !float {low: 0.001, high: 0.1, log: true, default: 0.01}\n", "objectives": ["latency_ratio"], "constraints": ["top1_drop <= 0.02"], "budget": {"trials": 2}, "parallel": 1, "seed": 0, "surrogate": "forest", "engine": {"n_initial": null}, "timing": {"target_interval": null, "time_limit_s": null, "n_compilations": null, "max_aa_deviation": null, "n_threads": null, "max_output_error": null, "job_limit_s": null}}','{"parameters": [{"name": "pruners.filters.final_sparsity", "kind": "float", "low": 0.1, "high": 0.8, "log": false, "step": null, "default": 0.3, "condition": null}, {"name": "training.lr", "kind": "float", "low": 0.001, "high": 0.1, "log": true, "step": null, "default": 0.01, "condition": null}], "forbidden": []}','{"p50_ms": 2.0, "p95_ms": 2.0, "p25_ms": 2.0, "throughput_per_s": 500.0, "validation_top1": 0.98, "validation_top5": 1.0, "n_images": 300, "params": 270000, "macs": 40000000, "model_bytes": 1100000}','trl_77954cb73c11ce90','{"split": "test", "trial_id": "trl_77954cb73c11ce90", "number": 0, "latency_p50_ms": 1.6, "latency_p95_ms": 1.6, "throughput_per_s": 625.0, "latency_ratio": 0.8, "latency_ratio_low": 0.792, "latency_ratio_high": 0.808, "aa_ratio": 1.0, "top1": 0.98, "top5": 1.0, "top1_drop": 0.0, "n_images": 300, "baseline_top1": 0.98, "baseline_top5": 1.0, "baseline_p50_ms": 2.0, "baseline_p95_ms": 2.0}',0,'2026-11-25 18:55:06.205658','2026-11-25 18:55:06.536213','2026-11-25 18:55:07.507009',0,NULL,7);
CREATE TABLE token (
	id VARCHAR(32) NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	scopes JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	expires_at DATETIME, 
	revoked_at DATETIME, 
	PRIMARY KEY (id), 
	UNIQUE (sha256)
);
INSERT INTO "token" VALUES('tok_775fe1eb33487333','anna','f05e73b42004e9c33b463b5a0fc5a0f06c3f85e1285f87fb3c8785012d6ddb4d','["write"]','2026-11-25 21:41:47.658191',NULL,NULL);
CREATE TABLE trial (
	id VARCHAR(32) NOT NULL, 
	study_id VARCHAR(32) NOT NULL, 
	number INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	config JSON NOT NULL, 
	origin VARCHAR(16) NOT NULL, 
	prediction JSON NOT NULL, 
	seed INTEGER NOT NULL, 
	metrics JSON, 
	is_feasible BOOLEAN, 
	violations JSON NOT NULL, 
	failure JSON, 
	progress JSON NOT NULL, 
	artifacts JSON NOT NULL, 
	details JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	started_at DATETIME, 
	finished_at DATETIME, built VARCHAR(64), twin_of VARCHAR(32), rung INTEGER, promoted_from VARCHAR(32), 
	PRIMARY KEY (id), 
	FOREIGN KEY(study_id) REFERENCES study (id), 
	UNIQUE (study_id, number)
);
INSERT INTO "trial" VALUES('trl_77954cb73c11ce90','std_aa607985919fb06d',0,'complete','{"pruners.filters.final_sparsity": 0.3, "training.lr": 0.01}','initial','{}',1446583109,'{"params": 100000, "macs": 20000000, "model_bytes": 400000, "latency_p50_ms": 1.6, "latency_p95_ms": 1.6, "throughput_per_s": 625.0, "latency_ratio": 0.8, "latency_ratio_low": 0.792, "latency_ratio_high": 0.808, "aa_ratio": 1.0, "top1": 0.98, "top5": 1.0, "top1_drop": 0.0}',1,'{}',NULL,'{}','{"schedule": "8040cdcb0520b361091636bc900f2713b2f4aa64bd40adec22ba0ce7726e4110", "onnx": "d97debff0072b76002bdf15644d21a5af7ba51288d4370f7c5fec71449f2a361", "weights": "0d811dc2805475606fd1cdd607f0ae0b419c8b759aee6da67d4ad32df8b093cc", "probe_outputs": "953657cd9a0f465caca281a6f368aa5c4c377854eb7e4990b5ffe23e7a23f473"}','{"schedule": {"version": 1, "pruners": {"filters": {"class": "L1RankedStructureParameterPruner_AGP", "group_type": "Filters", "initial_sparsity": 0.05, "final_sparsity": 0.3, "weights": ["layer1.0.conv1.weight"]}}, "policies": [{"pruner": {"instance_name": "filters"}, "starting_epoch": 0, "ending_epoch": 3, "frequency": 1}]}, "training": {"epochs": 4, "lr": 0.01}}','2026-11-25 18:55:06.726270','2026-11-25 18:55:06.923853','2026-11-25 18:55:07.072903','abababababababababababababababababababababababababababababababab',NULL,0,NULL);
INSERT INTO "trial" VALUES('trl_c555e724b40f05c1','std_aa607985919fb06d',1,'complete','{"pruners.filters.final_sparsity": 0.767462333797, "training.lr": 0.0030212166398}','initial','{}',2005510037,'{"params": 100000, "macs": 20000000, "model_bytes": 400000, "latency_p50_ms": 1.6, "latency_p95_ms": 1.6, "throughput_per_s": 625.0, "latency_ratio": 0.8, "latency_ratio_low": 0.792, "latency_ratio_high": 0.808, "aa_ratio": 1.0, "top1": 0.98, "top5": 1.0, "top1_drop": 0.0}',1,'{}',NULL,'{}','{"schedule": "399e20814ca3cda7ad90bc04ecf658c39d4fb39f5b9939823303b8539dbcb447", "onnx": "844605190373b27f96bacc0734779fe50f9db9a8021db0824cbcde7ed266dd32", "weights": "602c30005bc501646828d787f4a225465b1e0f7af316d4b81aa6adb7d276d0ea", "probe_outputs": "ea239e6cba60584e540d9d4c0588254cb3f79d8bbe127aff2367e1fbb0e8fbae"}','{"schedule": {"version": 1, "pruners": {"filters": {"class": "L1RankedStructureParameterPruner_AGP", "group_type": "Filters", "initial_sparsity": 0.05, "final_sparsity": 0.767462333797, "weights": ["layer1.0.conv1.weight"]}}, "policies": [{"pruner": {"instance_name": "filters"}, "starting_epoch": 0, "ending_epoch": 3, "frequency": 1}]}, "training": {"epochs": 4, "lr": 0.0030212166398}}','2026-11-25 18:55:07.134300','2026-11-25 18:55:07.241307','2026-11-25 18:55:07.352475',NULL,NULL,NULL,NULL);
CREATE TABLE webhook (
	id VARCHAR(32) NOT NULL, 
	url VARCHAR(2000) NOT NULL, 
	secret VARCHAR(200) NOT NULL, 
	kinds JSON NOT NULL, 
	study_id VARCHAR(32), 
	made_by VARCHAR(200) NOT NULL, 
	after_event INTEGER NOT NULL, 
	created_at DATETIME NOT NULL, 
	ended_at DATETIME, 
	PRIMARY KEY (id), 
	FOREIGN KEY(study_id) REFERENCES study (id)
);
INSERT INTO "webhook" VALUES('whk_0123456789abcdef','https://example.org/hook','s3cret','["finished"]','std_aa607985919fb06d','admin',1,'2026-11-26 03:00:00.000000',NULL);
CREATE TABLE worker (
	id VARCHAR(32) NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	version VARCHAR(50) NOT NULL, 
	created_at DATETIME NOT NULL, 
	last_seen_at DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);
INSERT INTO "worker" VALUES('wrk_487e9f45888d20fa','edge-1','0.1.0','2026-11-25 18:55:06.363822','2026-11-25 18:55:07.433871');
CREATE INDEX ix_event_study_id ON event (study_id);
CREATE INDEX ix_event_subject ON event (subject);
CREATE INDEX ix_device_kind ON device (kind);
CREATE INDEX ix_stage_baseline_id ON stage (baseline_id);
CREATE INDEX ix_stage_lane_state ON stage (lane, state);
CREATE INDEX ix_stage_study_id ON stage (study_id);
CREATE INDEX ix_stage_trial_id ON stage (trial_id);
CREATE INDEX ix_attempt_state ON attempt (state);
CREATE INDEX ix_measurement_study_id ON measurement (study_id);
CREATE INDEX ix_measurement_trial_id ON measurement (trial_id);
CREATE INDEX ix_request_key_created_at ON request_key (created_at);
CREATE INDEX ix_event_incumbent ON event (study_id) WHERE kind = 'incumbent';
CREATE INDEX ix_delivery_state_next_at ON delivery (state, next_at);
CREATE INDEX ix_experiment_subject_id ON experiment (subject_id);
CREATE INDEX ix_study_state ON study (state);
CREATE INDEX ix_study_experiment_id ON study (experiment_id);
CREATE INDEX ix_trial_built ON trial (study_id, built);
CREATE INDEX ix_trial_counts ON trial (study_id, state, is_feasible, origin, rung);
COMMIT;
